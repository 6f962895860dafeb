/**
 * Several data sets that one adapter learns together: which of them the next batch is from. A part of n examples is drawn with a share
 * p ∝ n^(1/T) (Devlin 2019 for languages; Karimi Mahabadi 2021, section 3, T = 10 for tasks): T = 1 is in proportion to its size, a large T
 * draws all parts alike, so that small ones are not drowned. A batch is of one part, whose own epochs run on: nothing is left out of a
 * part before all of it was seen.
 */
import { assert } from '../core/assert.ts';
import type { SeededRandom } from '../core/random.ts';
import { epochBatches, sortedBatches } from '../data/batches.ts';
import type { ExampleSource } from '../data/example-source.ts';
import { type Parts, partsOf } from '../data/parts.ts';

/** A batch as indices into the source, and the part it is of. */
export interface SampledBatch {
  readonly indices: readonly number[];
  readonly part: string;
}

/** Shares p ∝ n^(1/T) of parts with `counts` n, each at least 1; they sum to 1. */
export function temperatureShares(counts: readonly number[], temperature: number): number[] {
  assert(temperature > 0, `the temperature ${temperature} is above 0`);
  // Relative to the largest, so that a small temperature does not overflow.
  const largest = Math.max(...counts);
  const weights = counts.map((count) => (count / largest) ** (1 / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** Whether batches are of one part each: where the plan samples parts, or the adapter tells their tasks apart. */
export function partsApart(
  source: ExampleSource,
  {
    adapterTasks,
    temperature,
  }: { readonly adapterTasks: readonly string[]; readonly temperature?: number | undefined },
): Parts | null {
  const parts = partsOf(source);
  const isApart = temperature !== undefined || parts?.names.some((name) => adapterTasks.includes(name)) === true;
  return isApart ? parts : null;
}

/** The task of a pass over a part; none where the adapter does not serve it by name. */
export function taskOf(
  { adapterTasks }: { readonly adapterTasks: readonly string[] },
  part: string | undefined,
): { readonly task?: string } {
  return part !== undefined && adapterTasks.includes(part) ? { task: part } : {};
}

/** Batches without chance, of one part each, shorter examples first within it. */
export function sortedPartBatches(lengths: ArrayLike<number>, parts: Parts, batchSize: number): SampledBatch[] {
  return membersOf(parts).flatMap((indices, part) =>
    sortedBatches(
      indices.map((index) => lengths[index]!),
      batchSize,
    ).map((batch) => ({ indices: batch.map((place) => indices[place]!), part: parts.names[part]! })),
  );
}

/** The indices of every part's examples. */
function membersOf({ names, of }: Parts): readonly (readonly number[])[] {
  const members = names.map((): number[] => []);
  for (const [index, part] of of.entries()) members[part]!.push(index);
  return members;
}

/** What {@link sampledBatches} needs. */
export interface SamplingOptions {
  readonly parts: Parts;
  /** Of every example of the source. */
  readonly lengths: ArrayLike<number>;
  readonly batchSize: number;
  readonly temperature: number;
  readonly random: SeededRandom;
}

/** Batches without end. */
export function* sampledBatches(options: SamplingOptions): Generator<SampledBatch, never> {
  const { parts, lengths, batchSize, temperature, random } = options;
  const members = membersOf(parts);
  const streams = members.map((indices, part) =>
    endless(indices, { lengths, batchSize, random: random.fork('part', part) }),
  );
  const shares = temperatureShares(
    members.map(({ length }) => length),
    temperature,
  );
  const draws = random.fork('parts');
  for (;;) {
    const part = drawn(shares, draws.uniform());
    yield { indices: streams[part]!.next().value, part: parts.names[part]! };
  }
}

/** The place in which a number in [0, 1) falls. */
function drawn(shares: readonly number[], uniform: number): number {
  let below = 0;
  const place = shares.findIndex((share) => {
    below += share;
    return uniform < below;
  });
  return place === -1 ? shares.length - 1 : place;
}

function* endless(
  indices: readonly number[],
  { lengths, batchSize, random }: Pick<SamplingOptions, 'lengths' | 'batchSize' | 'random'>,
): Generator<readonly number[], never> {
  const own = indices.map((index) => lengths[index]!);
  for (let epoch = 0; ; epoch++)
    for (const batch of epochBatches(own, batchSize, random.fork('epoch', epoch)))
      yield batch.map((place) => indices[place]!);
}
