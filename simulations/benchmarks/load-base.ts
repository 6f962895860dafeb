/**
 * A process of the benchmark `load`: reads the weight files whole, or loads the base from its folder and trains its first two steps, once, and
 * sends what it took. Words: what to do, the folder, the back end, how the base is kept, the names of the weight files.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { type BackendName, useBackend } from '../../shared/compute/backend.ts';
import type { FrozenPrecision } from '../../shared/compute/compact-matrix.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { loadBase } from '../../shared/model/load.node.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { randomExamples, stepLabels } from './measured-step.ts';

/** Shape of the steps: few short texts, so that what a step computes hides little of what comes before it. */
const shape = { sequence: 8, batch: 8 } as const;

/** What such a process sends. */
export interface LoadReport {
  readonly type: 'report';
  readonly ms: number;
  /** By how much the largest resident size exceeds that of the idle process with its back end started, in bytes. */
  readonly peakBytes: number;
  /** What loading was followed by; null where files were read only. */
  readonly training: TrainingStart | null;
}

/** The first steps on a base that was just loaded; all times since loading began. */
interface TrainingStart {
  /** When the first step was done. */
  readonly firstStepMs: number;
  /** When the second was: what a step takes that follows another is the difference. */
  readonly secondStepMs: number;
  /** As above, with loading and the first steps. */
  readonly peakBytes: number;
}

type Words = ['read' | 'load', string, BackendName, FrozenPrecision, ...string[]];
const [task, folder, backend, frozenWeights, ...names] = process.argv.slice(2) as Words;
await useBackend(backend);
globalThis.gc?.();
const idleBytes = process.memoryUsage.rss();
const startMs = performance.now();
const report = task === 'load' ? await load() : await read();
process.send?.(report, () => process.disconnect());

async function read(): Promise<LoadReport> {
  const held: object[] = [];
  for (const name of names) held.push(await readFile(join(folder, name)));
  return { type: 'report', ms: sinceStart(), peakBytes: peakBytes(), training: null };
}

async function load(): Promise<LoadReport> {
  const { model } = await loadBase(folder, { frozenWeights });
  const loaded = { ms: sinceStart(), peakBytes: peakBytes() };
  return { type: 'report', ...loaded, training: await startTraining(model) };
}

async function startTraining(base: BaseModel): Promise<TrainingStart> {
  const adapter = parseAdapter({ method: 'lora', rank: 8 }, base.description);
  const task = { kind: 'classification', labels: stepLabels, pooling: 'first', lengthMax: shape.sequence } as const;
  const model = createTaskModel({ base, adapter, task });
  const ends: number[] = [];
  await trainLocally({
    model,
    start: model.initialise(3),
    source: memorySource(randomExamples(shape)),
    configuration: { ...defaultTraining, localEpochs: undefined, localSteps: 2, batchSize: shape.batch },
    seed: 4,
    onProgress: () => ends.push(sinceStart()),
  });
  return { firstStepMs: ends[0]!, secondStepMs: ends[1]!, peakBytes: peakBytes() };
}

function sinceStart(): number {
  return performance.now() - startMs;
}

function peakBytes(): number {
  return Math.max(0, process.resourceUsage().maxRSS * 1024 - idleBytes);
}
