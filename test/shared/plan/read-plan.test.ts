import { strict as assert } from 'node:assert';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../../../shared/core/errors.ts';
import { planHashOf } from '../../../shared/plan/plan.ts';
import { readPlan, readPolicy } from '../../../shared/plan/read-plan.node.ts';
import { minimalPlan } from './minimal-plan.ts';

const examples = new URL('../../../shared/plan/examples/', import.meta.url).pathname;

describe('readPlan', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-plan-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };

  for (const name of readdirSync(examples)) {
    it(`[RPL-1] reads the example ${name}`, async () => {
      assert.equal((await readPlan(join(examples, name))).format, 'tributary-plan-1');
    });
  }

  it('[RPL-2] gives the same plan from YAML, from JSON and from a file with a byte order mark', async () => {
    const json = JSON.stringify(minimalPlan(), null, 2);
    const hashes = [write('a.json', json), write('a.yaml', json), write('b.yml', `\ufeff${json}`)].map(async (path) =>
      planHashOf(await readPlan(path)),
    );
    assert.equal(new Set(await Promise.all(hashes)).size, 1);
  });

  it('[RPL-3] refuses duplicate keys in both formats with their place', async () => {
    await assert.rejects(readPlan(write('twice.yaml', 'format: a\nname: b\nname: c\n')), {
      code: 'bad-syntax',
      message: `${join(folder, 'twice.yaml')}:3:1: Map keys must be unique`,
    });
    await assert.rejects(
      readPlan(write('twice.json', '{\n "name": "b",\n "name": "c"\n}')),
      /twice\.json:3:2: Map keys must be unique/,
    );
  });

  it('[RPL-4] gives line and column of a syntax error', async () => {
    await assert.rejects(
      readPlan(write('broken.yaml', 'format: x\nrounds: [1, 2\nname: y\n')),
      /broken\.yaml:\d+:\d+: /,
    );
  });

  it('[RPL-5] refuses YAML in a .json file, unknown tags, several documents and other extensions', async () => {
    await assert.rejects(readPlan(write('plain.json', 'format: tributary-plan-1\n')), UsageError);
    await assert.rejects(readPlan(write('tag.yaml', 'format: !secret x\n')), /tag\.yaml:1:9: Unresolved tag/);
    await assert.rejects(readPlan(write('two.yaml', 'a: 1\n---\nb: 2\n')), UsageError);
    await assert.rejects(readPlan(write('plan.txt', 'a: 1\n')), /ends in \.yaml, \.yml or \.json, found "\.txt"/);
  });

  it('[RPL-6] refuses aliases that would grow without bound', async () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level}, `.repeat(9)}*l${level}]`,
    );
    await assert.rejects(readPlan(write('bomb.yaml', ['l0: &l0 [x]', ...levels].join('\n'))), /Excessive alias count/);
  });

  it('[RPL-7] names a file that is missing', async () => {
    await assert.rejects(readPlan(join(folder, 'none.yaml')), { code: 'unreadable-file' });
  });

  it('[RPL-8] reads policies', async () => {
    assert.equal((await readPolicy(write('policy.yaml', 'discloseMetrics: true\n'))).discloseMetrics, true);
    await assert.rejects(
      readPolicy(write('bad.yaml', 'discloseMetrics: on\n')),
      /bad\.yaml: discloseMetrics must be true or false, found "on"/,
    );
    await assert.rejects(readPolicy(write('empty.yaml', '')), /empty\.yaml: the policy must be a section/);
  });
});
