/** Which labels a site has rows of: what a head that is averaged by label asks of every client. */
import type { ExampleSource } from '../data/example-source.ts';
import { ownersName } from '../update/federated-layout.ts';
import type { AdapterLayout } from '../update/layout.ts';

/** Examples that are read at once. */
const readCount = 1024;

/** 1 for every output of the head that is a target of an example and 0 for the others, under the name that uploads have; empty where no head asks. */
export async function ownersOf(layout: AdapterLayout, source: ExampleSource): Promise<Map<string, Float32Array>> {
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
