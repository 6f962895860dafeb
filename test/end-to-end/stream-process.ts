/**
 * What the tests of data larger than memory run in a process of its own, whose heap is limited: reads a file, encodes its rows, keeps the examples
 * as `keep` says, and goes through them for two epochs in shuffled batches. Prints one JSON document.
 *
 * node stream-process.ts FILE spool|memory
 */
import process from 'node:process';
import { seededRandom } from '../../shared/core/random.ts';
import { epochBatches } from '../../shared/data/batches.ts';
import { type EncodedExample, encodeText, type TextEncoding } from '../../shared/data/encode.ts';
import { readRecords } from '../../shared/data/records.node.ts';
import { collectExamples } from '../../shared/data/spool.node.ts';

const [, , file = '', keep = ''] = process.argv;
const lengthMax = 64;

/** One id for a word: what matters here is how many there are. */
const tokenizer: TextEncoding = {
  encode: (text, length) => Int32Array.from(text.split(' ').slice(0, length), (word) => 1 + (Number(word) % 29_999)),
};

let truncatedCount = 0;
async function* examples(): AsyncGenerator<EncodedExample> {
  for await (const { value, line } of readRecords(file)) {
    const { ids, isCut } = encodeText(String(value.text), { tokenizer, lengthMax, line });
    if (isCut) truncatedCount++;
    yield { ids, targets: Int32Array.of(Number(value.label)) };
  }
}

const startBytes = process.memoryUsage.rss();
const source = await collectExamples(examples(), {
  vocabularySize: 30_000,
  memoryBytesMax: keep === 'memory' ? Number.POSITIVE_INFINITY : 1 << 20,
});
const sums: number[] = [];
const firstIds: number[] = [];
for (let epoch = 0; epoch < 2; epoch++) {
  let sum = 0;
  for (const indices of epochBatches(Array.from(source.lengths), 32, seededRandom(epoch))) {
    const batch = await source.read(indices);
    for (const { ids, targets } of batch) sum += ids.reduce((total, id) => total + id, targets[0]!);
    if (batch.length > 0 && firstIds.length === epoch) firstIds.push(batch[0]!.ids[0]!);
  }
  sums.push(sum);
}
await source.close();
process.stdout.write(
  JSON.stringify({
    count: source.count,
    sums,
    firstIds,
    truncatedCount,
    fileBytes: source.fileBytes,
    grownBytes: process.resourceUsage().maxRSS * 1024 - startBytes,
  }),
);
