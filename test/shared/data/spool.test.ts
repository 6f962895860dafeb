import { strict as assert } from 'node:assert';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvariantError } from '../../../shared/core/assert.ts';
import type { EncodedExample } from '../../../shared/data/encode.ts';
import { collectExamples, type HeldSource, spoolExamples } from '../../../shared/data/spool.node.ts';
import { exampleSourceContract, suiteVocabularySize } from '../../contracts/example-source.ts';

async function* stream(examples: readonly EncodedExample[], error?: Error): AsyncGenerator<EncodedExample> {
  yield* examples;
  if (error !== undefined) throw error;
}

const example = (ids: readonly number[], targets: readonly number[]): EncodedExample => {
  return { ids: Int32Array.from(ids), targets: Int32Array.from(targets) };
};

for (const [name, vocabularySize] of [
  ['in a file of 16 bits', suiteVocabularySize],
  ['in a file of 32 bits', 128_000],
] as const) {
  exampleSourceContract(
    name,
    (examples) => spoolExamples(stream(examples), { vocabularySize }),
    (source) => source.close(),
  );
}
exampleSourceContract(
  'in memory at first, then in a file',
  (examples) => collectExamples(stream(examples), { vocabularySize: suiteVocabularySize, memoryBytesMax: 1000 }),
  (source) => source.close(),
);

describe('spooled examples', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-spool-test-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('[SPO-1] takes two bytes a value in a small vocabulary, four in a large one, none for targets that are the ids', async () => {
    const bytesOf = async (examples: readonly EncodedExample[], vocabularySize: number): Promise<number> => {
      const source = await spoolExamples(stream(examples), { vocabularySize });
      await source.close();
      return source.fileBytes;
    };
    const scored = [example([1, 2, 3], [0]), example([4, 5], [-1, 5])];
    assert.equal(await bytesOf(scored, 60_000), 2 * 8);
    assert.equal(await bytesOf(scored, 128_000), 4 * 8);
    assert.equal(await bytesOf([example([1, 2, 3], [1, 2, 3])], 60_000), 2 * 3);
  });

  it('[SPO-2] keeps the largest values of either width, and takes larger ones for a bug', async () => {
    const largest = [example([0, 65_533], [-1, 65_533]), example([65_533], [65_533])];
    const source = await spoolExamples(stream(largest), { vocabularySize: 65_534 });
    assert.deepEqual(await source.read([0, 1]), largest);
    await source.close();
    const wide = [example([0, 2 ** 31 - 2], [-1, 2 ** 31 - 2])];
    const wideSource = await spoolExamples(stream(wide), { vocabularySize: 2 ** 31 - 1 });
    assert.deepEqual(await wideSource.read([0]), wide);
    await wideSource.close();
    await assert.rejects(spoolExamples(stream([example([70_000], [])]), { vocabularySize: 500 }), InvariantError);
  });

  it('[SPO-3] leaves no file behind: not while it is used, not when it is closed, not when the stream fails', async () => {
    const files = () => readdirSync(folder);
    const options = { vocabularySize: 500, folder };
    const source = await spoolExamples(stream([example([1], [0])]), options);
    assert.deepEqual(files(), []);
    assert.deepEqual(await source.read([0]), [example([1], [0])]);
    await source.close();
    await source.close();
    await assert.rejects(source.read([0]), InvariantError);
    const broken = new Error('a bad row');
    await assert.rejects(spoolExamples(stream([example([1], [0])], broken), options), broken);
    const stopped = AbortSignal.abort(broken);
    await assert.rejects(spoolExamples(stream([example([1], [0])]), { ...options, signal: stopped }), broken);
    await assert.rejects(collectExamples(stream([example([1], [0])]), { ...options, signal: stopped }), broken);
    assert.deepEqual(files(), []);
  });

  it('[SPO-4] names the folder and the way out when it cannot be written to', async () => {
    const nowhere = join(folder, 'none');
    await assert.rejects(spoolExamples(stream([]), { vocabularySize: 500, folder: nowhere }), {
      code: 'spool-failed',
      message: /none.*TMPDIR/s,
    });
  });

  it('[SPO-5] keeps few examples in memory and many in a file, the longest too', async () => {
    const long = example(Array(3_000_000).fill(7), [1]);
    const few = [example([1, 2], [0]), example([3], [1])];
    const kept: HeldSource = await collectExamples(stream(few), { vocabularySize: 500 });
    assert.equal(kept.fileBytes, 0);
    assert.deepEqual(await kept.read([1, 0]), [few[1], few[0]]);
    const many = await collectExamples(stream([...few, long, ...few]), { vocabularySize: 500, memoryBytesMax: 16 });
    assert.equal(many.fileBytes, 2 * (2 * 3 + 2 * 2 + 3_000_001));
    assert.deepEqual(await many.read([4, 2, 0]), [few[1], long, few[0]]);
    await many.close();
  });
});
