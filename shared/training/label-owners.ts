/** Which labels and tasks a site has rows of: what heads that are averaged by label or by task ask of every client. */
import type { ExampleSource } from '../data/example-source.ts';
import { headUsesName, ownersName } from '../update/federated-layout.ts';
import type { AdapterLayout } from '../update/layout.ts';

/** Examples that are read at once. */
const readCount = 1024;

/** 1 for every output of the head that is a target of an example and 0 for the others, under the name that uploads have; empty where no head asks. */
export async function ownersOf(layout: AdapterLayout, source: ExampleSource): Promise<Map<string, Float32Array>> {
  const shares = await taskShares(layout, source);
  if (shares !== null) return new Map([[headUsesName, shares]]);
  const head = layout.tensors.find(({ countName }) => countName === ownersName);
  if (head === undefined) return new Map();
  const owners = new Float32Array(head.shape.at(-1)!);
  for (let start = 0; start < source.count; start += readCount) {
    const indices = Array.from({ length: Math.min(readCount, source.count - start) }, (_, index) => start + index);
    for (const { targets } of await source.read(indices)) {
      for (const target of targets) if (target >= 0) owners[target] = 1;
    }
  }
  return new Map([[ownersName, owners]]);
}

/** Targets per example by task, in the order of the heads; null where there is one head. */
async function taskShares({ tensors }: AdapterLayout, source: ExampleSource): Promise<Float32Array | null> {
  const sizes = tensors.filter(({ name }) => /^heads\.[^.]+\.bias$/.test(name)).map(({ size }) => size);
  if (sizes.length === 0) return null;
  const counts = new Float64Array(sizes.length);
  const ends = sizes.map((_, index) => sizes.slice(0, index + 1).reduce((sum, size) => sum + size, 0));
  for (let start = 0; start < source.count; start += readCount) {
    const indices = Array.from({ length: Math.min(readCount, source.count - start) }, (_, index) => start + index);
    for (const { targets } of await source.read(indices))
      for (const target of targets) counts[ends.findIndex((end) => target < end)]!++;
  }
  return Float32Array.from(counts, (count) => count / source.count);
}
