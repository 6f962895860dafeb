/** `tributary coordinator`: runs a federation to its end, or until it is asked to stop; a later start on the same state goes on. */
import { type Command, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatBytes, formatDuration } from '../../shared/command-line/progress.ts';
import { type BackendName, backendNames } from '../../shared/compute/backend-names.ts';
import { FederationError, UsageError } from '../../shared/core/errors.ts';
import { describeCanary } from '../../shared/plan/canary.ts';
import { roundCountOf } from '../../shared/plan/phases.ts';
import { readPlan } from '../../shared/plan/read-plan.node.ts';
import { describeMasking } from '../../shared/plan/secure-aggregation.ts';
import type { Coordinator, FederationEnd } from '../coordinator.ts';
import { describeEvent, describeMetrics } from './describe-event.ts';
import { createRoundProgress } from './round-progress.ts';

interface Options {
  readonly plan: string;
  readonly base: string;
  readonly state: string;
  readonly start?: string;
  readonly port: string;
  readonly host: string;
  readonly publicUrl?: string;
  readonly backend: BackendName | 'auto';
}

/** How long clients get to hear of the end before their connections are closed. */
const farewellMs = 5_000;

/** Adds `coordinator`. */
export function registerCoordinator(program: Command, context: CommandContext): void {
  program
    .command('coordinator')
    .requiredOption('--plan <file>', 'what is trained, how, in which rounds (.yaml, .yml or .json)')
    .requiredOption(
      '--base <folder>',
      'the frozen base model, as published: a folder with config.json, model.safetensors (or shards), tokenizer.json, or hf:owner/name@revision',
    )
    .requiredOption('--state <folder>', 'durable state; made on first use, and gone on with afterwards')
    .option(
      '--start <folder>',
      'an adapter whose values the federation starts from, of the method and the settings of the plan (default: the start values of the plan)',
    )
    .option('--port <number>', 'port to listen on, 0 for a free one', '8080')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .addOption(
      new Option('--backend <name>', 'what computes on rows of the operator, where the plan names some')
        .choices(['auto', ...backendNames])
        .default('auto'),
    )
    .option('--public-url <url>', 'address that clients use, where it is another one: behind a proxy that adds TLS')
    .action((options: Options) => runCoordinator(options, context));
}

async function runCoordinator(options: Options, context: CommandContext): Promise<void> {
  const { state: stateFolder, host, publicUrl } = options;
  const port = portOf(options.port);
  if (publicUrl !== undefined && !/^https?:\/\//.test(publicUrl))
    throw new UsageError('bad-option', `--public-url must begin with https:// or http://, found ${publicUrl}`);
  const plan = await readPlan(options.plan);
  context.signal.throwIfAborted();
  // Loaded here: TensorFlow.js costs a second that a broken plan does not need.
  const { prepareFederation } = await import('../prepare.ts');
  const { startCoordinator } = await import('../coordinator.ts');
  const { resolveBaseFolder } = await import('../../shared/model/hub.node.ts');
  const { readAdapterFolder } = await import('../../shared/adapters/adapter-folder.node.ts');
  const start = options.start === undefined ? null : await readAdapterFolder(options.start);
  const baseFolder = await resolveBaseFolder(options.base, context);
  const prepared = await prepareFederation(plan, baseFolder, options.plan, start);
  const { openOperatorModel } = await import('../canary/operator-model.ts');
  const openOperator = openOperatorModel({ planFile: options.plan, baseFolder, backend: options.backend });
  const startedMs = performance.now();
  const rounds = createRoundProgress();
  let show = (): void => undefined;
  const coordinator = await startCoordinator({
    ...prepared,
    openOperator,
    stateFolder,
    host,
    port,
    ...(publicUrl === undefined ? {} : { publicUrl }),
    onEvent: (event) => {
      const line = describeEvent(event, stateFolder, context.verbose);
      if (line !== null) context.log(line);
      if (rounds.hear(event)) show();
    },
  }).finally(prepared.closeBase);
  try {
    const versions = await coordinator.versions();
    const before = versions.filter(({ roundIndex }) => roundIndex >= 0).length;
    context.log(`coordinator of "${plan.name}" at ${coordinator.url}, fingerprint ${coordinator.fingerprint}`);
    if (before > 0) context.log(`going on after version ${versions.length - 1}`);
    context.log(describeMasking(plan));
    context.log(describeCanary(plan.canary));
    context.log(await coordinator.membership());
    context.log(`invite a site with: tributary invite --state ${stateFolder} --organisation NAME`);
    const progress = context.progress({ label: 'federation', unit: 'rounds', total: roundCountOf(plan) - before });
    show = () => progress.update(rounds.done(), rounds.note());
    show();
    const stop = (): void => coordinator.stop();
    if (context.signal.aborted) stop();
    context.signal.addEventListener('abort', stop, { once: true });
    const end = await coordinator.ended;
    progress.finish();
    await coordinator.vacated(farewellMs);
    const document = await documentOf(coordinator, end, (performance.now() - startedMs) / 1000);
    context.report(document, describeRun(document));
    if (end.status === 'stopped' && !context.signal.aborted)
      throw new FederationError('federation-stopped', end.detail);
  } finally {
    await coordinator.close();
  }
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new UsageError('bad-option', `--port must be a number from 0 to 65535, found ${text}`);
}

/** The document of `coordinator --json`. */
type RunDocument = Awaited<ReturnType<typeof documentOf>>;

async function documentOf(coordinator: Coordinator, { status, detail }: FederationEnd, seconds: number) {
  const { bytesUp, bytesDown } = coordinator.traffic();
  const versions = await coordinator.library();
  return {
    status,
    detail,
    federationId: coordinator.federationId,
    url: coordinator.url,
    fingerprint: coordinator.fingerprint,
    rounds: (await coordinator.rounds()).map(({ roundIndex, status: how, asked, contributed, detail: why }) => {
      return { roundIndex, status: how, asked, contributed, detail: why };
    }),
    versions: versions.map(({ row, record: { metrics } }) => {
      const { version, roundIndex, modelHash, contributed } = row;
      return { version, roundIndex, modelHash, contributed, metrics };
    }),
    /** Since this start. */
    bytes: { up: bytesUp, down: bytesDown },
    seconds,
  };
}

function describeRun({ status, detail, versions, bytes, seconds }: RunDocument): string {
  const latest = versions.at(-1);
  const metrics = latest?.metrics == null ? '' : `: ${describeMetrics(latest.metrics)}`;
  return [
    `${status}: ${detail}`,
    `latest version ${latest?.version ?? 0}${metrics}`,
    `${formatBytes(bytes.up)} up, ${formatBytes(bytes.down)} down in ${formatDuration(1000 * seconds)}`,
  ].join('\n');
}
