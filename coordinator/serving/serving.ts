/**
 * A server of adapters: many of them, of federations that may still run and of folders, on one frozen base (`tributary adapters serve`). Adapters
 * are loaded when they are first asked for; requests for different ones share their passes through the base (Sheng 2023, S-LoRA); a version that
 * is published meanwhile is the latest from the next look on, and requests under way end on the one they began with.
 */
import type { BackendName } from '../../shared/compute/backend-names.ts';
import type { FrozenPrecision } from '../../shared/compute/compact-matrix.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import {
  type AdapterSource,
  createCatalogue,
  type ServedAdapter,
  type ServedVersion,
  servedNames,
} from './catalogue.ts';
import type { EngineFacts } from './engine-messages.ts';
import { openEngineThread } from './engine-thread.ts';
import { folderSource } from './folder-source.ts';
import { isLoopback, listen, type Route } from './http-server.ts';
import { createFigures } from './metrics.ts';
import { refusalOf } from './refusals.ts';
import { parseClassify, parseGenerate } from './requests.ts';
import { createService, type ServiceLimits } from './service.ts';
import { stateSource } from './state-source.ts';

/** Where adapters are. */
export interface AdapterPlace {
  /** The state of a coordinator, an adapter, or a folder of adapters. */
  readonly kind: 'state' | 'folder';
  readonly folder: string;
  /** What it is called; null for its own name. */
  readonly name: string | null;
}

/** What {@link startServing} needs. */
export interface ServingOptions {
  readonly baseFolder: string;
  readonly places: readonly AdapterPlace[];
  readonly host?: string;
  /** 0 for a free one. */
  readonly port: number;
  /** What clients must say as bearer token; needed where others than this machine reach the port. */
  readonly token?: string | null;
  readonly backend?: BackendName | 'auto';
  readonly threads?: number;
  readonly frozenWeights?: FrozenPrecision;
  readonly limits?: Partial<ServiceLimits>;
  /** How often sources are looked at again; 0 for never. */
  readonly refreshMs?: number;
  readonly log?: (line: string) => void;
}

/** A server that runs. */
export interface Serving {
  readonly url: string;
  readonly facts: EngineFacts;
  /** Names of adapters. */
  names(): readonly string[];
  /** Looks at the sources now. */
  refresh(): Promise<void>;
  /** Rejects with FederationError `engine-died` when answers can no longer be computed. */
  readonly ended: Promise<void>;
  /** Takes no more requests, answers those under way within `graceMs`, and ends. */
  close(graceMs?: number): Promise<void>;
}

/** Limits where nobody says otherwise. */
const servingLimits: ServiceLimits = {
  adapterBytesMax: 512 * 2 ** 20,
  waitingMax: 1024,
  timeoutMs: 30_000,
  writersMax: 8,
};

/** Bytes of a body: more than 64 texts of any base's length. */
const bodyBytesMax = 2 ** 20;
const refreshMsPreset = 2000;

/**
 * Loads the base in a thread, looks at the sources and listens.
 * @throws UsageError for sources that hold no adapter for this base, and for an open port without a token; as loading a base does.
 */
export async function startServing(options: ServingOptions): Promise<Serving> {
  const { baseFolder, places, host = '127.0.0.1', port, token = null, log = () => undefined } = options;
  if (token === null && !isLoopback(host))
    throw new UsageError('no-token', `others than this machine reach ${host}: give a token, and put TLS in front`);
  if (token !== null && (token.length < 16 || /\s/.test(token)))
    throw new UsageError('bad-token', 'a token has at least 16 characters, none of them blank');
  if (places.length === 0) throw new UsageError('no-adapter', 'name at least one place with adapters');
  const { backend = 'auto', threads = 1, frozenWeights = 'float32', refreshMs = refreshMsPreset } = options;
  const engine = await openEngineThread({ baseFolder, backend, threads, frozenWeights });
  const sources: AdapterSource[] = [];
  const catalogue = createCatalogue(sources);
  const abandon = async (): Promise<void> => {
    await catalogue.close();
    await engine.close();
  };
  try {
    const { base } = engine.facts;
    for (const place of places) sources.push(await sourceAt(place, base, log));
    await catalogue.refresh();
  } catch (thrown) {
    await abandon();
    throw thrown;
  }
  const figures = createFigures();
  const limits = { ...servingLimits, ...options.limits };
  const service = createService({ engine, catalogue, limits, figures, log });
  let isClosing = false;
  const startedMs = performance.now();
  const guarded = (work: Route['answer']): Route['answer'] => {
    return (request) => {
      if (isClosing) throw new UsageError('shutting-down', 'this server is ending; ask another');
      return work(request);
    };
  };
  const routes = new Map<string, Route>([
    [
      'health',
      {
        method: 'GET',
        isOpen: true,
        answer: () => ({
          status: isClosing ? 503 : 200,
          body: {
            status: isClosing ? 'shutting-down' : 'ok',
            base: engine.facts.base.digest,
            backend: engine.facts.backend,
            adapters: catalogue.adapters.length,
            waiting: service.waiting,
            seconds: Math.round((performance.now() - startedMs) / 1000),
          },
        }),
      },
    ],
    [
      'metrics',
      { method: 'GET', answer: () => ({ status: 200, type: 'text/plain; version=0.0.4', body: figures.text() }) },
    ],
    ['adapters', { method: 'GET', answer: ({ rest }) => ({ status: 200, body: listing(rest) }) }],
    [
      'classify',
      {
        method: 'POST',
        answer: guarded(async ({ body, signal }) => ({
          status: 200,
          body: await service.classify(parseClassify(body), signal),
        })),
      },
    ],
    [
      'generate',
      {
        method: 'POST',
        answer: guarded(async ({ body, signal }) => ({
          status: 200,
          body: await service.generate(parseGenerate(body), signal),
        })),
      },
    ],
  ]);
  const listing = (reference: string | null) => {
    if (reference === null || reference === '') return { adapters: catalogue.adapters.map(adapterFacts) };
    const { name, version } = catalogue.resolve(reference);
    const adapter = catalogue.adapters.find((one) => one.name === name)!;
    return { ...versionFacts(name, version), versions: adapter.versions.map(versionLine) };
  };
  const refresh = refresher(() => catalogue.refresh(), log);
  const timer = refreshMs > 0 ? setInterval(() => void refresh(), refreshMs).unref() : null;
  const requests = figures.counter('tributary_requests_total', 'Requests by route and status.');
  const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
  const durations = figures.histogram('tributary_request_seconds', 'How long requests took.', bounds);
  try {
    const listening = await listen({ host, port, token, routes, bodyBytesMax, requests, durations, log });
    return {
      url: listening.url,
      facts: engine.facts,
      names: () => catalogue.adapters.map(({ name }) => name),
      refresh,
      ended: engine.ended,
      close: async (graceMs = limits.timeoutMs) => {
        isClosing = true;
        if (timer !== null) clearInterval(timer);
        await listening.close(graceMs);
        await abandon();
      },
    };
  } catch (thrown) {
    if (timer !== null) clearInterval(timer);
    await abandon();
    throw thrown;
  }
}

async function sourceAt(
  { kind, folder, name }: AdapterPlace,
  base: EngineFacts['base'],
  onFault: (sentence: string) => void,
): Promise<AdapterSource> {
  if (name !== null && !servedNames.test(name))
    throw new UsageError('bad-name', `a name has up to 100 letters, digits, ., - and _, found ${name.slice(0, 120)}`);
  return kind === 'state' ? stateSource({ folder, name, base }) : folderSource({ folder, name, base, onFault });
}

/** One look at a time; a fault is told once, as long as it is the same, and what was known before is served on. */
function refresher(look: () => Promise<void>, log: (line: string) => void): () => Promise<void> {
  let [running, told]: [Promise<void> | null, string] = [null, ''];
  const run = async (): Promise<void> => {
    try {
      await look();
      told = '';
    } catch (thrown) {
      const sentence = errorMessage(thrown);
      if (sentence !== told) log(`the adapters stay as they were: ${sentence}`);
      told = sentence;
    } finally {
      running = null;
    }
  };
  return () => (running ??= run());
}

function versionLine({ version, modelHash, lineage }: ServedVersion) {
  return { version, modelHash, roundIndex: lineage?.roundIndex ?? null };
}

function versionFacts(name: string, version: ServedVersion) {
  try {
    const { adapter, task, dim } = version.facts();
    return {
      name,
      version: version.version,
      modelHash: version.modelHash,
      adapter,
      task,
      parameters: dim,
      lineage: version.lineage,
    };
  } catch (thrown) {
    return { name, version: version.version, modelHash: version.modelHash, error: refusalOf(thrown).body };
  }
}

function adapterFacts({ name, versions }: ServedAdapter) {
  const latest = versions.at(-1)!;
  const { adapter, task, ...rest } = { adapter: null, task: null, ...versionFacts(name, latest) };
  return {
    ...rest,
    method: adapter?.method ?? null,
    task: task?.kind ?? null,
    versions: versions.length,
  };
}
