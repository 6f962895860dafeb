/** One run of mutated inputs against every decoder. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { readRecords } from '../../shared/data/records.node.ts';
import { byteTargets, readJsonList, valueTargets } from './fuzz-targets.ts';
import { mutateBytes, mutateValue } from './mutate.ts';
import { mutatedFile, recordFiles } from './record-files.ts';

/** Bytes by which the heap may have grown after a run. */
const heapGrowthMax = 200 * 2 ** 20;

/** What objects have by birth; nothing that is decoded may change it. */
function prototypes(): string {
  return [Object.prototype, Array.prototype, Uint8Array.prototype, String.prototype]
    .map((prototype) => Reflect.ownKeys(prototype).map(String).join())
    .join(';');
}

/** Runs `decode`; only errors of the federation may come out of it. */
function guard(what: string, decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (error instanceof FederationError) return;
    throw new Error(`${what}: ${String(error)}`, { cause: error });
  }
}

function isRead(decoded: unknown): boolean {
  return typeof decoded !== 'object' || decoded === null || !('ok' in decoded) || decoded.ok === true;
}

/** Tries `inputCount` mutated inputs from this seed, shared by all decoders. */
export async function fuzzDecoders(seed: number, inputCount: number): Promise<void> {
  const before = prototypes();
  const heapBefore = process.memoryUsage().heapUsed;
  const [bytes, values] = [byteTargets(), valueTargets()];
  const share = Math.ceil(inputCount / (bytes.length + values.length + 1));
  for (const { name, samples, decode } of bytes) {
    // What nobody changed is read: else the changes would be of something else.
    for (const sample of samples) assert.ok(isRead(decode(sample)), `${name}, unchanged`);
    for (let run = 0; run < share; run++) {
      const random = seededRandom(seed, name, run);
      const sample = samples[random.integer(samples.length)]!;
      const other = samples[random.integer(samples.length)]!;
      guard(`${name}, seed ${seed}, run ${run}`, () => decode(mutateBytes(sample, other, random)));
    }
  }
  for (const { name, sample, decode } of values) {
    decode(sample);
    for (let run = 0; run < share; run++) {
      const random = seededRandom(seed, name, run);
      let value = sample;
      for (let count = 1 + random.integer(3); count > 0; count--) value = mutateValue(value, random);
      guard(`${name}, seed ${seed}, run ${run}`, () => decode(value));
    }
  }
  const list = utf8('{"data": [{"text": "a \\"b\\" [c]", "label": 1}, {"text": "\\u00e9", "label": 0}], "more": []}\n');
  for (let run = 0; run < share; run++) {
    const random = seededRandom(seed, 'json list', run);
    const text = new TextDecoder().decode(mutateBytes(list, list, random));
    await readJsonList(text, 1 + random.integer(40));
  }
  assert.equal(prototypes(), before, 'no prototype has changed');
  const grown = process.memoryUsage().heapUsed - heapBefore;
  assert.ok(grown < heapGrowthMax, `the heap grew by ${grown} bytes`);
}

/** Tries `fileCount` mutated files of every kind of records. */
export async function fuzzRecordFiles(seed: number, fileCount: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tributary-fuzz-'));
  try {
    for (const file of recordFiles()) {
      const path = join(folder, `rows.${file.ending}`);
      await writeFile(path, file.bytes);
      for await (const _ of readRecords(path));
      for (let run = 0; run < fileCount; run++) {
        await writeFile(path, mutatedFile(file, seed, run));
        try {
          for await (const _ of readRecords(path));
        } catch (error) {
          if (error instanceof FederationError) continue;
          throw new Error(`${file.name}, seed ${seed}, run ${run}: ${String(error)}`, { cause: error });
        }
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
