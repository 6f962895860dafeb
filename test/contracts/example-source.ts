/** What every example source must do; each implementation runs this whole suite. */
import { strict as assert } from 'node:assert';
import { InvariantError } from '../../shared/core/assert.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';

/** Ids and targets of the suite lie below this. */
export const suiteVocabularySize = 500;

/** Examples of every task: a label, several labels, none, a target per id, ids that are their own targets, some of them not scored. */
const kinds: readonly ((ids: Int32Array) => Int32Array)[] = [
  (ids) => Int32Array.of(ids.length % 7),
  () => Int32Array.of(0, 3, 499),
  () => new Int32Array(0),
  (ids) => ids.map((id, index) => (index % 3 === 0 ? -1 : id % 9)),
  (ids) => ids.slice(),
  (ids) => ids.map((id, index) => (index < ids.length / 2 ? -1 : id)),
];

function examplesOf(count: number): EncodedExample[] {
  const random = seededRandom(1, 'examples');
  return Array.from({ length: count }, (_, index) => {
    const ids = Int32Array.from({ length: 1 + random.integer(40) }, () => random.integer(suiteVocabularySize));
    return { ids, targets: kinds[index % kinds.length]!(ids) };
  });
}

/** Registers the suite. Sources that hold something are closed by `dispose` after each test. */
export function exampleSourceContract<Source extends ExampleSource>(
  name: string,
  create: (examples: readonly EncodedExample[]) => Promise<Source>,
  dispose: (source: Source) => Promise<void> = async () => {},
): void {
  describe(`example source contract: ${name}`, () => {
    const examples = examplesOf(300);
    const withSource = async (
      given: readonly EncodedExample[],
      work: (source: Source) => Promise<void>,
    ): Promise<void> => {
      const source = await create(given);
      try {
        await work(source);
      } finally {
        await dispose(source);
      }
    };

    it('[EXS-1] knows how many examples there are and how long each is', async () => {
      await withSource(examples, async ({ count, lengths }) => {
        assert.equal(count, examples.length);
        assert.deepEqual(
          lengths,
          Int32Array.from(examples, ({ ids }) => ids.length),
        );
      });
    });

    it('[EXS-2] gives the examples that are asked for, in that order, also twice in one reading', async () => {
      await withSource(examples, async (source) => {
        const shuffled = seededRandom(2).shuffle(examples.map((_, index) => index));
        for (const indices of [[0], [299, 0, 299, 7], [], [5, 6, 7, 8], shuffled]) {
          assert.deepEqual(
            await source.read(indices),
            indices.map((index) => examples[index]!),
          );
        }
      });
    });

    it('[EXS-3] serves several readers at once', async () => {
      await withSource(examples, async (source) => {
        const batches = Array.from({ length: 30 }, (_, index) => [index, 299 - index, index + 100]);
        const read = await Promise.all(batches.map((indices) => source.read(indices)));
        assert.deepEqual(
          read,
          batches.map((indices) => indices.map((index) => examples[index]!)),
        );
      });
    });

    it('[EXS-4] takes an index out of range for a bug', async () => {
      await withSource(examples, async (source) => {
        for (const index of [-1, 300, 0.5, Number.NaN]) await assert.rejects(source.read([0, index]), InvariantError);
      });
    });

    it('[EXS-5] may be empty', async () => {
      await withSource([], async (source) => {
        assert.equal(source.count, 0);
        assert.deepEqual(await source.read([]), []);
      });
    });
  });
}
