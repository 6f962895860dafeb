/** The quickstart for tasks beside classification, with processes and sockets, on a tiny base. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '../../../shared/core/random.ts';
import { silentHooks } from '../../../simulations/quickstart/options.ts';
import { reportPage } from '../../../simulations/quickstart/report.ts';
import { runQuickstart } from '../../../simulations/quickstart/run.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { fixtureOptions } from './fixture.ts';

describe('quickstart by task', function () {
  this.timeout(180_000);
  let folder = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-quickstart-tasks-'));
    await writeTinyBase(join(folder, 'base'));
    const random = seededRandom(4, 'quickstart-tasks');
    for (const [name, count] of [
      ['train', 60],
      ['test', 24],
    ] as const) {
      const rows = Array.from({ length: count }, () => {
        const isName = random.uniform() < 0.5;
        const word = (isName ? 'abc' : 'xyz')[random.integer(3)]!;
        return {
          tokens: [word, 'm'],
          tags: [isName ? 'B-NAME' : 'O', 'O'],
          prompt: `${word}:`,
          answer: isName ? 'yes' : 'no',
        };
      });
      const write = (kind: string, keys: readonly (keyof (typeof rows)[number])[]) => {
        const lines = rows.map((row) => JSON.stringify(Object.fromEntries(keys.map((key) => [key, row[key]]))));
        writeFileSync(join(folder, `${kind}-${name}.jsonl`), lines.join('\n'));
      };
      write('tokens', ['tokens', 'tags']);
      write('causal', ['prompt', 'answer']);
    }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const runTask = (task: 'tokens' | 'causal') => {
    const data = {
      train: join(folder, `${task}-train.jsonl`),
      test: join(folder, `${task}-test.jsonl`),
      textColumn: null,
      labelColumn: null,
      labelNames: null,
    };
    const own = { baseFolder: join(folder, 'base'), data, task, outFolder: join(folder, `out-${task}`) };
    const partition = { kind: 'iid' } as const;
    return runQuickstart({ ...fixtureOptions, ...own, partition, backend: 'cpu', adapter: 'lora' }, silentHooks());
  };

  it('[QTK-1] tokens: entity F1 of all contenders, the most frequent tag of each word among them', async () => {
    const result = await runTask('tokens');
    const { summary } = result;
    assert.deepEqual(summary.metric, { name: 'entityF1', higherIsBetter: true });
    assert.deepEqual(summary.missing, []);
    assert.equal(summary.scores.bagOfWords, 1, 'the word decides');
    for (const score of [summary.scores.head, summary.scores.federated, summary.scores.pooled])
      assert.ok(score !== null && score >= 0 && score <= 1);
    assert.equal(result.federated.curve.length, 2);
    assert.match(reportPage(result), /entity F1 on/);
    assert.deepEqual(JSON.parse(readFileSync(result.folder.summary, 'utf8')), JSON.parse(JSON.stringify(summary)));
  });

  it('[QTK-2] causal: perplexity, lower is better, without contenders that have none, and it says why', async () => {
    const result = await runTask('causal');
    const { summary } = result;
    assert.deepEqual(summary.metric, { name: 'perplexity', higherIsBetter: false });
    assert.deepEqual([summary.scores.bagOfWords, summary.scores.head], [null, null]);
    assert.equal(summary.missing.length, 2);
    assert.ok(summary.scores.federated! > 1 && summary.scores.pooled! < 300);
    const page = reportPage(result);
    assert.match(page, /Not in this comparison: head alone/);
    assert.doesNotMatch(page, /NaN|undefined|null %/);
  });
});
