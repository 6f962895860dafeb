/** The quickstart with every adapter method, as a user starts it: the command, processes and sockets, on a tiny base. */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { seededRandom } from '../../../shared/core/random.ts';
import { adapterNames } from '../../../simulations/quickstart/options.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { root } from '../../house-rules/sources.ts';

const start = promisify(execFile);

describe('quickstart by method', function () {
  this.timeout(300_000);
  let folder = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-quickstart-methods-'));
    await writeTinyBase(join(folder, 'base'));
    const random = seededRandom(6, 'quickstart-methods');
    for (const [name, count] of [
      ['train', 60],
      ['test', 24],
    ] as const) {
      const rows = Array.from({ length: count }, () => {
        const label = random.uniform() < 0.5 ? 'early' : 'late';
        return { text: `${(label === 'early' ? 'abc' : 'xyz')[random.integer(3)]!} m`, label };
      });
      writeFileSync(join(folder, `${name}.jsonl`), rows.map((row) => JSON.stringify(row)).join('\n'));
    }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const adapter of adapterNames) {
    it(`[QMT-1] --adapter ${adapter} ends with the exit code 0 and a result`, async () => {
      const out = join(folder, adapter);
      const files = ['--train', join(folder, 'train.jsonl'), '--test', join(folder, 'test.jsonl')];
      const size = ['--clients', '2', '--rounds', '1', '--partition', 'iid', '--backend', 'cpu'];
      // A code other than 0 rejects, with what the command said.
      await start(
        process.execPath,
        [
          join(root, 'shared/command-line/main.node.ts'),
          'quickstart',
          '--adapter',
          adapter,
          '--base',
          join(folder, 'base'),
          ...files,
          ...size,
          '--out',
          out,
        ],
        { timeout: 280_000 },
      );
      assert.ok(existsSync(join(out, 'summary.json')), out);
      const { scores, rounds } = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'));
      assert.equal(rounds, 1);
      assert.ok(scores.federated >= 0 && scores.federated <= 1);
    });
  }
});
