/** `tributary adapters serve`: answers requests for many adapters on one base over HTTP, until it is asked to end. */
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { type BackendName, backendNames } from '../../shared/compute/backend-names.ts';
import { type FrozenPrecision, frozenPrecisions } from '../../shared/compute/compact-matrix.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import type { AdapterPlace } from '../serving/serving.ts';

/** What the command line says. */
interface ServeOptions {
  readonly state: readonly string[];
  readonly adapter: readonly string[];
  readonly base?: string;
  readonly host: string;
  readonly port: number;
  readonly tokenFile?: string;
  readonly backend: BackendName | 'auto';
  readonly threads: number;
  readonly frozenWeights: FrozenPrecision;
  readonly adapterMemory: number;
  readonly waiting: number;
  readonly timeout: number;
}

/** Where a token may stand; a file is safer, since other programs of the user may read an environment. */
const tokenVariable = 'TRIBUTARY_SERVE_TOKEN';

/** Gives `command` its options and its action. */
export function registerServe(command: Command, context: CommandContext): void {
  const many = (value: string, all: readonly string[]): readonly string[] => [...all, value];
  command
    .description('answer requests for many adapters on one frozen base over HTTP, batched across adapters')
    .option(
      '--state <[name=]folder>',
      'state folder of a coordinator, which may run: all its versions; repeatable',
      many,
      [],
    )
    .option(
      '--adapter <[name=]folder>',
      'an adapter, as train and adapters export write it, or a folder of such folders; repeatable',
      many,
      [],
    )
    .option('--base <folder>', 'the base, a folder or hf:owner/name@revision (default: the one that ships)')
    .option('--host <address>', 'address to listen on; others than this machine need a token', '127.0.0.1')
    .option('--port <number>', 'port to listen on, 0 for a free one', wholeNumber(0, 65_535), 8090)
    .option(
      '--token-file <file>',
      `file with the token that clients must send (default: the environment variable ${tokenVariable}, or none)`,
    )
    .addOption(new Option('--backend <name>', 'what computes').choices(['auto', ...backendNames]).default('auto'))
    .option('--threads <count>', 'threads, where the back end has any', wholeNumber(1, 256), 1)
    .addOption(
      new Option(
        '--frozen-weights <type>',
        "how the base's linear maps are kept: float16 halves and int8 quarters their memory, at an error",
      )
        .choices(frozenPrecisions)
        .default('float32'),
    )
    .option('--adapter-memory <MiB>', 'memory for adapters between requests', wholeNumber(1, 2 ** 20), 512)
    .option(
      '--waiting <texts>',
      'texts that may wait; beyond, requests are asked to come again',
      wholeNumber(1, 2 ** 20),
      1024,
    )
    .option('--timeout <seconds>', 'longest time of a request', wholeNumber(1, 3600), 30)
    .action((options: ServeOptions) => serve(options, context));
}

function wholeNumber(atLeast: number, atMost: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= atLeast && value <= atMost) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${atLeast} to ${atMost}.`);
  };
}

async function serve(options: ServeOptions, context: CommandContext): Promise<void> {
  const places = [
    ...options.state.map((text) => placeOf('state', text)),
    ...options.adapter.map((text) => placeOf('folder', text)),
  ];
  if (places.length === 0)
    throw new UsageError('missing-adapter', 'name what to serve: --state FOLDER of a coordinator, or --adapter FOLDER');
  const token = await tokenOf(options.tokenFile);
  const [{ startServing }, { resolveBaseFolder }, { pretrainedFolder }] = await Promise.all([
    import('../serving/serving.ts'),
    import('../../shared/model/hub.node.ts'),
    import('../../shared/model/load.node.ts'),
  ]);
  const baseFolder = options.base === undefined ? pretrainedFolder() : await resolveBaseFolder(options.base, context);
  context.signal.throwIfAborted();
  const { host, port, backend, threads, frozenWeights, adapterMemory, waiting, timeout } = options;
  const serving = await startServing({
    baseFolder,
    places,
    host,
    port,
    token,
    backend,
    threads,
    frozenWeights,
    limits: { adapterBytesMax: adapterMemory * 2 ** 20, waitingMax: waiting, timeoutMs: timeout * 1000 },
    log: context.log,
  });
  const startedMs = performance.now();
  try {
    const { base, backend: name } = serving.facts;
    const names = serving.names();
    const shown = names.length > 10 ? `${names.slice(0, 10).join(', ')}, …` : names.join(', ');
    context.log(`base ${baseFolder} (${base.family}, ${base.layerCount} layers of ${base.hiddenSize}) on ${name}`);
    context.log(
      `serving ${names.length === 1 ? 'one adapter' : `${names.length} adapters`} at ${serving.url}: ${shown}`,
    );
    context.log(
      token === null
        ? 'whoever reaches this port on this machine may ask'
        : 'clients send: authorization: Bearer TOKEN',
    );
    const interrupted = new Promise<void>((resolve) => {
      if (context.signal.aborted) resolve();
      context.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([interrupted, serving.ended]);
    context.log('answering what is under way, then ending');
  } finally {
    await serving.close();
  }
  const seconds = (performance.now() - startedMs) / 1000;
  context.report({ url: serving.url, adapters: serving.names().length, seconds }, `served for ${seconds.toFixed(0)} s`);
}

/** `NAME=FOLDER` or `FOLDER`. */
function placeOf(kind: AdapterPlace['kind'], text: string): AdapterPlace {
  const [, name, folder] = /^([^=/\\]+)=(.+)$/s.exec(text) ?? [];
  return { kind, folder: folder ?? text, name: name ?? null };
}

async function tokenOf(file: string | undefined): Promise<string | null> {
  if (file === undefined) return process.env[tokenVariable] ?? null;
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `--token-file ${file} cannot be read: ${errorMessage(cause)}`, { cause });
  });
  return text.trim();
}
