import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeBase, readBaseFiles } from '../../../shared/model/load.node.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { sharded } from '../../shared/model/checkpoint-files.ts';
import { type HubServer, startHub } from '../../shared/model/hub/hub-server.ts';
import { run } from './commands.ts';

const commit = 'fedcba9876543210fedcba9876543210fedcba98';
const variables = ['HF_ENDPOINT', 'HF_HUB_OFFLINE', 'HF_TOKEN', 'TRIBUTARY_CACHE'] as const;

describe('commands on a base of the hub', () => {
  let folder: string;
  let hub: HubServer;
  let digest: string;
  const outside = new Map<string, string | undefined>();

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-hub-base-'));
    const base = await writeTinyBase(join(folder, 'base'));
    ({ digest } = await describeBase(base));
    const files = sharded(await readBaseFiles(base), 2);
    hub = await startHub(new Map([['owner/tiny', { commit, revisions: ['main'], files }]]));
    const rows = Array.from({ length: 8 }, (_, index) => ({ text: `${index % 2} ${index}`, label: `${index % 2}` }));
    writeFileSync(join(folder, 'rows.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
    for (const name of variables) {
      outside.set(name, process.env[name]);
      delete process.env[name];
    }
    process.env.HF_ENDPOINT = hub.endpoint;
    process.env.TRIBUTARY_CACHE = join(folder, 'cache');
  });
  after(async () => {
    for (const [name, value] of outside) {
      delete process.env[name];
      if (value !== undefined) process.env[name] = value;
    }
    await hub.close();
    rmSync(folder, { recursive: true });
  });

  it('[HBC-1] train fetches it, evaluate finds it in the cache, also when the hub is gone', async () => {
    const rows = join(folder, 'rows.jsonl');
    const adapter = join(folder, 'adapter');
    const common = ['--base', 'hf:owner/tiny', '--backend', 'cpu', '--json'];
    const trained = await run(['train', '--train', rows, '--out', adapter, '--epochs', '1', ...common]);
    assert.equal(trained.code, 0, trained.errors);
    assert.match(trained.errors, new RegExp(`hf:owner/tiny@${commit}: fetching into `));
    assert.equal((JSON.parse(trained.output) as { base: { digest: string } }).base.digest, digest);
    await hub.close();
    const evaluated = await run(['evaluate', '--adapter', adapter, '--data', rows, ...common]);
    assert.equal(evaluated.code, 0, evaluated.errors);
    assert.match(evaluated.errors, new RegExp(`hf:owner/tiny@${commit}, from the cache`));
  });

  it('[HBC-2] what is no name of a base ends with 2', async () => {
    const wrong = ['--base', 'hf:owner/../tiny', '--backend', 'cpu'];
    const { code, errors } = await run([
      'train',
      '--train',
      join(folder, 'rows.jsonl'),
      '--out',
      join(folder, 'x'),
      ...wrong,
    ]);
    assert.deepEqual([code, /expected a base on the hub as hf:owner\/name/.test(errors)], [2, true], errors);
  });
});
