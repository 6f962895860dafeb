/** One run of mutated inputs against every decoder. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concatBytes, utf8 } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import { type SeededRandom, seededRandom } from '../../shared/core/random.ts';
import { readRecords } from '../../shared/data/records.node.ts';
import { byteTargets, folderTargets, readJsonList, valueTargets } from './fuzz-targets.ts';
import { mutateBytes, mutateValue } from './mutate.ts';
import { mutatedFile, recordFiles } from './record-files.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

/** Bytes by which the heap may have grown after a run. */
const heapGrowthMax = 200 * 2 ** 20;

/** Of a file, the bytes at its beginning that are changed. */
const headBytes = 8_192;

/** What objects have by birth; nothing that is decoded may change it. */
function prototypes(): string {
  return [Object.prototype, Array.prototype, Uint8Array.prototype, String.prototype]
    .map((prototype) => Reflect.ownKeys(prototype).map(String).join())
    .join(';');
}

/** Bytes that one decoder may take beside the heap for one input of a few kilobytes. */
const buffersMax = 64 * 2 ** 20;

/** Milliseconds after which a decoder hangs. */
const decodeMsMax = 15_000;

/** Runs `decode`; only errors of the federation may come out of it, and it may not ask for more memory than its input is worth. */
async function guard(what: string, decode: () => unknown): Promise<void> {
  const { arrayBuffers } = process.memoryUsage();
  try {
    const decoded = decode();
    if (decoded instanceof Promise) await decoded;
  } catch (error) {
    if (!(error instanceof FederationError)) throw new Error(`${what}: ${String(error)}`, { cause: error });
  }
  const taken = process.memoryUsage().arrayBuffers - arrayBuffers;
  assert.ok(taken < buffersMax, `${what}: took ${taken} bytes`);
}

function isRead(decoded: unknown): boolean {
  return typeof decoded !== 'object' || decoded === null || !('ok' in decoded) || decoded.ok === true;
}

/** Changed bytes of one of the samples. */
function mutant(samples: readonly Uint8Array[], random: SeededRandom): Uint8Array {
  const [sample, other] = [samples[random.integer(samples.length)]!, samples[random.integer(samples.length)]!];
  return mutateBytes(sample, other, random);
}

/** How many inputs each decoder of a kind gets: those of files are slower. */
export interface FuzzCounts {
  readonly inputs: number;
  readonly folders: number;
}

/** Tries mutated inputs from this seed on all decoders, as many on each; how many there were. */
export async function fuzzDecoders(seed: number, counts: FuzzCounts): Promise<number> {
  const watchdog = await startWatchdog(decodeMsMax);
  try {
    return await tryDecoders(seed, counts, watchdog);
  } finally {
    await watchdog.close();
  }
}

async function tryDecoders(seed: number, { inputs, folders }: FuzzCounts, { watch }: Watchdog): Promise<number> {
  const before = prototypes();
  const heapBefore = process.memoryUsage().heapUsed;
  let count = 0;
  const attempt = (name: string, run: number, decode: (random: SeededRandom) => unknown): Promise<void> => {
    count++;
    const random = seededRandom(seed, name, run);
    const what = `${name}, seed ${seed}, run ${run}`;
    return watch(what, () => guard(what, () => decode(random)));
  };
  for (const { name, samples, decode } of await byteTargets()) {
    // What nobody changed is read: else the changes would be of something else.
    for (const sample of samples) assert.ok(isRead(decode(sample)), `${name}, unchanged`);
    for (let run = 0; run < inputs; run++) await attempt(name, run, (random) => decode(mutant(samples, random)));
  }
  for (const { name, sample, decode } of await valueTargets()) {
    assert.ok(isRead(decode(sample)), `${name}, unchanged`);
    for (let run = 0; run < inputs; run++)
      await attempt(name, run, (random) => {
        let value = sample;
        for (let changes = 1 + random.integer(3); changes > 0; changes--) value = mutateValue(value, random);
        return decode(value);
      });
  }
  for (const { name, files, decode } of await folderTargets()) {
    await decode(files);
    // Bytes of tensors mean nothing to a decoder: of a long file its beginning is changed.
    const names = [...files.keys()];
    for (let run = 0; run < folders; run++)
      await attempt(name, run, (random) => {
        const chosen = names[random.integer(names.length)]!;
        const bytes = files.get(chosen)!;
        const changed = mutateBytes(bytes.subarray(0, headBytes), bytes.subarray(0, headBytes), random);
        return decode(new Map([...files, [chosen, concatBytes(changed, bytes.subarray(headBytes))]]));
      });
  }
  const list = utf8('{"data": [{"text": "a \\"b\\" [c]", "label": 1}, {"text": "\\u00e9", "label": 0}], "more": []}\n');
  for (let run = 0; run < inputs; run++)
    await attempt('json list', run, (random) =>
      readJsonList(new TextDecoder().decode(mutateBytes(list, list, random)), 1 + random.integer(40)),
    );
  assert.equal(prototypes(), before, 'no prototype has changed');
  const grown = process.memoryUsage().heapUsed - heapBefore;
  assert.ok(grown < heapGrowthMax, `the heap grew by ${grown} bytes`);
  return count;
}

/** Tries `fileCount` mutated files of every kind of records. */
export async function fuzzRecordFiles(seed: number, fileCount: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tributary-fuzz-'));
  const { watch, close } = await startWatchdog(decodeMsMax);
  try {
    for (const file of recordFiles()) {
      const path = join(folder, `rows.${file.ending}`);
      const read = async () => {
        for await (const _ of readRecords(path));
      };
      await writeFile(path, file.bytes);
      await read();
      for (let run = 0; run < fileCount; run++) {
        await writeFile(path, mutatedFile(file, seed, run));
        const what = `${file.name}, seed ${seed}, run ${run}`;
        await watch(what, () => guard(what, read));
      }
    }
  } finally {
    await close();
    await rm(folder, { recursive: true });
  }
}
