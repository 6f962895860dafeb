/** Nothing secret in what commands print and leave: a masked federation in processes of their own, with secrets in the environment. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { commandProcesses, movingDeadline } from './command-processes.ts';
import { filesOf, tablesOf } from './secret-keeping.ts';
import { findSecrets, type Secret } from './secret-search.ts';

const sites = ['one', 'two', 'three'];
const key = seededEntropy(91).bytes(32);
const environment = {
  TRIBUTARY_COORDINATOR_KEY: toHex(key),
  TRIBUTARY_SERVE_TOKEN: 'serve-token-that-nobody-prints',
  HF_TOKEN: 'hub-token-that-nobody-prints',
};

describe('secrets and commands', function () {
  const processes = commandProcesses(movingDeadline(this), environment);
  const { start, run } = processes;
  const folder = mkdtempSync(join(tmpdir(), 'tributary-secret-commands-'));
  const at = (name: string): string => join(folder, name);
  after(() => {
    processes.close();
    rmSync(folder, { recursive: true });
  });

  it('[NSC-4] log-secrecy: no key, code or token is printed or left outside the file that is for it, of the coordinator or of a site', async () => {
    const base = await writeTinyBase(at('base'));
    const plan = {
      format: 'tributary-plan-1',
      name: 'Secrets',
      base: { digest: (await describeBase(base)).digest },
      task: { labels: ['a', 'b'], pooling: 'last', lengthMax: 12 },
      adapter: { method: 'bottleneck', size: 4 },
      training: { localSteps: 2, batchSize: 8, learningRate: 0.01 },
      rounds: { count: 2, quorum: 3, cohortSize: 3, recruitSeconds: 600, trainSeconds: 600 },
      aggregation: { weighting: 'equal' },
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: 'on' },
      audit: { retainUpdates: true },
    };
    writeFileSync(at('plan.json'), JSON.stringify(plan));
    const inState = ['--state', at('state')] as const;
    const coordinator = start(
      ...['coordinator', '--plan', at('plan.json'), '--base', base, ...inState, '--port', '0', '--verbose'],
    );
    await coordinator.line(/coordinator of "Secrets" at/);
    const codes: string[] = [];
    const clients = [];
    for (const site of sites) {
      const code = (await run('invite', ...inState, '--organisation', site)).trim();
      codes.push(code);
      writeFileSync(at(`${site}.code`), code);
      const rows = Array.from({ length: 24 }, (_, index) => ({ text: `x${'pq'[index % 2]}`, label: 'ab'[index % 2] }));
      writeFileSync(at(`${site}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
      clients.push(
        start(
          ...['client', '--state', at(site), '--train', at(`${site}.jsonl`), '--backend', 'cpu', '--verbose'],
          ...['--invite-file', at(`${site}.code`)],
        ),
      );
    }
    const ended = await Promise.all([coordinator, ...clients].map((running) => running.ended));
    for (const { code, errors } of ended) assert.equal(code, 0, errors);
    const printed = ended.map(({ output, errors }) => utf8(output + errors));
    await run('audit', 'export', ...inState, '--out', at('log.jsonl'));
    for (const argv of [['audit', 'verify'], ['adapters', 'list'], ['adapters', 'show'], ['privacy']])
      printed.push(utf8(await run(...argv, ...inState, '--json')));

    const secrets: Secret[] = [{ name: 'key of the coordinator', bytes: key }];
    for (const name of ['TRIBUTARY_SERVE_TOKEN', 'HF_TOKEN'] as const)
      secrets.push({ name, bytes: utf8(environment[name]) });
    for (const [index, code] of codes.entries()) {
      secrets.push({ name: `code of ${sites[index]}`, bytes: utf8(code) });
      secrets.push({ name: `token of ${sites[index]}`, bytes: parseEnrolmentCode(code).token });
    }
    const places = new Map([['output', printed]]);
    for (const [path, bytes] of filesOf(folder)) {
      const [owner, file] = path.split('/');
      // The two files that are for secrets: what a site was handed, and its own key.
      if (path.endsWith('.code')) continue;
      if (file === 'identity.key' && sites.includes(owner!)) {
        secrets.push({ name: `key of ${owner}`, bytes: fromHex(Buffer.from(bytes).toString('utf8').trim()) });
        continue;
      }
      places.set(path, [bytes]);
    }
    for (const [name, values] of tablesOf(join(at('state'), 'coordinator.sqlite'))) places.set(`table ${name}`, values);
    assert.equal(secrets.length, 3 + 2 * sites.length + sites.length, secrets.map(({ name }) => name).join());
    assert.ok(places.has('log.jsonl') && [...places.keys()].some((path) => path.startsWith('state/blobs/')));
    assert.ok(
      [...places.keys()].some((path) => /^one\/evidence\/.*receipt/.test(path)),
      'receipts of sites',
    );
    assert.deepEqual(findSecrets(secrets, places), []);
  });
});
