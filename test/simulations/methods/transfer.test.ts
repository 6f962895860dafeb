import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import { runTransfer, type TransferCell, transferMethods } from '../../../simulations/methods/transfer.ts';
import { transferMarkdown } from '../../../simulations/methods/transfer-report.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

const settings: TransferCell['settings'] = {
  sources: ['en', 'de'],
  targets: ['nl'],
  rows: 16,
  testRows: 12,
  passes: 2,
  languagePasses: 1,
  lengthMax: 10,
  batchSize: 8,
  learningRate: 0.02,
  languageLearningRate: 0.01,
};

/** Rows in turn of three languages and two intents. */
function lines(count: number): string {
  const random = seededRandom(count, 'transfer');
  return Array.from({ length: count }, (_, index) => {
    const client = ['en', 'de', 'nl'][index % 3];
    const letters = index % 2 === 0 ? 'abc' : 'xyz';
    const text = Array.from({ length: 6 }, () => letters[random.integer(3)]).join('');
    return JSON.stringify({ text, label: index % 2 === 0 ? 'early' : 'late', client });
  }).join('\n');
}

describe('runTransfer', () => {
  let folder = '';
  let base: LoadedBase;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-transfer-'));
    mkdirSync(join(folder, 'xsid'));
    for (const part of ['train', 'test'])
      writeFileSync(join(folder, 'xsid', `${part}.jsonl.gz`), gzipSync(lines(part === 'train' ? 60 : 40)));
    await useBackend('cpu');
    base = await baseModelFrom(tinyBaseFiles());
  });
  after(() => {
    base.model.dispose();
    rmSync(folder, { recursive: true });
  });

  it('[MET-17] measures every language by every method, the mean being of those without labelled rows, and prints them', async () => {
    const results = [];
    for (const method of transferMethods) {
      const shares: number[] = [];
      const onProgress = ({ done, total }: { readonly done: number; readonly total: number }) =>
        shares.push(done / total);
      const result = await runTransfer({ cell: { method, seed: 1, settings }, folder, base, onProgress });
      assert.deepEqual(Object.keys(result.byLanguage), ['en', 'de', 'nl']);
      assert.equal(result.accuracy, result.byLanguage.nl);
      assert.equal(shares.at(-1), 1, method);
      results.push(result);
    }
    const text = transferMarkdown(settings, results);
    assert.match(text, /\| nl \| none \| [\d.]+ \| [\d.]+ \| [\d.]+ \|/);
    assert.match(text, /language-adapters ahead of task-adapter/);
  });
});
