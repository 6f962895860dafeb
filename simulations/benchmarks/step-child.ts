/**
 * A process of the benchmarks `step` and `epoch`: trains the problem of a folder as clients do, a pass at a time, each when it is told to. Words:
 * the folder, the back end, `cached` or `plain`, and `read` or `all` for the tokens that the last layer computes.
 */
import process from 'node:process';
import { type BackendName, useBackend } from '../../shared/compute/backend.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { openBaseFiles } from '../../shared/model/load.node.ts';
import { networkFrom } from '../../shared/model/load.ts';
import { createActivationCache } from '../../shared/training/activation-cache.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { obeyParent, ownCpuMs } from './children.ts';
import { readStepSettings, startSeed, stepAdapter, stepTask, stepTraining, trainingSeed } from './step-files.ts';

/** Passes that a process can be asked for. */
const passesMax = 1000;

/** How such a process trains. */
export interface TrainingWay {
  /** Whether states below the lowest adapter are kept. */
  readonly states: 'cached' | 'plain';
  /** Whether the last layer computes the tokens that the head reads, as clients do, or all, as PyTorch's modules do. */
  readonly tokens: 'read' | 'all';
}

/** What such a process sends after every pass. */
export interface PassReport {
  readonly type: 'pass';
  readonly ms: number;
  readonly cpuMs: number;
  /** Before every step. */
  readonly losses: readonly number[];
  readonly peakBytes: number;
}

/** What it sends when it is ready. */
export interface ReadyReport {
  readonly type: 'ready';
  readonly backend: BackendName;
  readonly threads: number;
}

const [folder, name, mode, tokens] = process.argv.slice(2) as [
  string,
  BackendName | 'auto',
  TrainingWay['states'],
  TrainingWay['tokens'],
];
const { settings, examples } = await readStepSettings(folder);
const backend = await useBackend(name, { threads: settings.threads });
const opened = openBaseFiles(folder);
const base = networkFrom(opened.files);
opened.close();
const activations = mode === 'cached' ? { activations: createActivationCache() } : {};
const model = createTaskModel({
  base: tokens === 'all' ? withAllTokens(base) : base,
  adapter: stepAdapter(settings, base.description),
  task: stepTask(settings),
  ...activations,
});

let order: PromiseWithResolvers<void> = Promise.withResolvers();
let [startMs, startCpuMs, losses] = [0, 0, [] as number[]];
const stop = new AbortController();
obeyParent<'pass'>({
  take: () => order.resolve(),
  leave: () => {
    stop.abort();
    order.resolve();
  },
});

function withAllTokens(own: BaseModel): BaseModel {
  return {
    ...own,
    encode: ({ inputIds, attentionMask, below }, hooks, collect) =>
      own.encode({ inputIds, attentionMask, ...(below && { below }) }, hooks, collect),
  };
}

async function nextOrder(): Promise<void> {
  await order.promise;
  order = Promise.withResolvers();
  [startMs, startCpuMs, losses] = [performance.now(), ownCpuMs(), []];
}

process.send?.({ type: 'ready', backend: backend.name, threads: backend.threads } satisfies ReadyReport);
await nextOrder();
const training = trainLocally({
  model,
  start: model.initialise(startSeed),
  source: memorySource(examples),
  configuration: stepTraining(settings, passesMax),
  seed: trainingSeed,
  signal: stop.signal,
  onProgress: ({ loss }) => losses.push(loss),
  onPass: async () => {
    const [ms, cpuMs] = [performance.now() - startMs, ownCpuMs() - startCpuMs];
    const peakBytes = process.resourceUsage().maxRSS * 1024;
    process.send?.({ type: 'pass', ms, cpuMs, losses, peakBytes } satisfies PassReport);
    await nextOrder();
  },
});
await training.catch((thrown: unknown) => {
  if (!stop.signal.aborted) throw thrown;
});
