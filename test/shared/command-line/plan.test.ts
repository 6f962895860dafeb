import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register } from '../../../shared/command-line/plan.node.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { planHashOf } from '../../../shared/plan/plan.ts';
import { readPlan } from '../../../shared/plan/read-plan.node.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { minimalPlan } from '../plan/minimal-plan.ts';
import { fakeTerminal } from './fake-terminal.ts';

describe('plan check', () => {
  let folder = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-plan-check-'));
    await writeTinyBase(join(folder, 'base'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const write = (name: string, value: unknown): string => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(value));
    return path;
  };
  const check = async (...argv: string[]) => {
    const terminal = fakeTerminal();
    const { signal } = new AbortController();
    const groups = [{ commands: { plan: 'check a plan' }, load: async () => ({ register }) }];
    const code = await runCommandLine({ groups, argv: ['plan', 'check', ...argv], version: '0', terminal, signal });
    return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
  };

  it('[PLC-1] prints hash and defaults of a correct plan, as text and as one document', async () => {
    const path = write('good.json', minimalPlan());
    const hash = planHashOf(await readPlan(path));
    const people = await check(path);
    assert.equal(people.code, 0, people.errors);
    assert.ok(people.output.startsWith(`${path}: correct\n`) && people.output.includes(hash));
    const document = JSON.parse((await check(path, '--json')).output);
    assert.equal(document.planHash, hash);
    assert.equal(document.base, null);
    assert.deepEqual([document.notChecked.length > 0, document.notChecked[0]], [true, 'base.digest']);
    assert.match(
      people.output,
      /\n {2}not checked {3}base\.digest\n[\s\S]*layers, [\s\S]*with --base DIR all of it is$/m,
    );
    assert.equal(document.plan.training.localEpochs, 1);
  });

  it('[PLC-5] says how many updates a round really needs: the quorum, or what the robust rule answers for', async () => {
    const needs = async (aggregation: object) => {
      const plan = { ...minimalPlan(), rounds: { count: 3, quorum: 3 }, secureAggregation: { mode: 'off' } };
      const checked = await check(
        write('needs.json', { ...plan, aggregation: { weighting: 'equal', ...aggregation } }),
      );
      assert.equal(checked.code, 0, checked.errors);
      return /publishing with at least ([^;\n]*)/.exec(checked.output)?.[1];
    };
    assert.equal(await needs({}), '3 updates');
    const why = 'the quorum is 3, and the rule krum needs more';
    assert.equal(await needs({ robust: 'krum', hostileMax: 2 }), `7 updates (${why})`);
    assert.equal(await needs({ robust: 'krum', hostileMax: 2, bucketSize: 2 }), `14 updates (${why})`);
  });

  it('[PLC-2] checks a plan against its base: digest, length, pooling, adapter; and says what is trained', async () => {
    const base = join(folder, 'base');
    const { digest, positionsMax } = await describeBase(base);
    const plan = minimalPlan();
    const task = { labels: ['a', 'b'], pooling: 'mean', lengthMax: positionsMax };
    const fitting = { ...plan, base: { digest }, task, adapter: { method: 'bottleneck', size: 4 } };
    const good = await check(write('fits.json', fitting), '--base', base, '--json');
    assert.equal(good.code, 0, good.errors);
    assert.deepEqual(JSON.parse(good.output).notChecked, []);
    assert.doesNotMatch((await check(join(folder, 'fits.json'), '--base', base)).output, /not checked/);
    const report = JSON.parse(good.output).base;
    // One block of width 16: down 16 x 4 + 4, up 4 x 16 + 16; the head 16 x 2 + 2.
    assert.equal(report.trainableCount, 16 * 4 + 4 + 4 * 16 + 16 + 16 * 2 + 2);
    assert.equal(report.updateBytes, 4 * report.trainableCount);
    const wrong = {
      ...fitting,
      base: { digest: 'ab'.repeat(32) },
      task: { ...task, pooling: 'first', lengthMax: positionsMax + 1 },
    };
    const bad = await check(write('unfit.json', wrong), '--base', base);
    assert.equal(bad.code, 2);
    assert.match(bad.errors, new RegExp(`base.digest must be ${digest}`));
    assert.match(bad.errors, /task\.lengthMax must be at most 32/);
    assert.match(bad.errors, /task\.pooling must be last or mean/);
    const method = write('method.json', { ...fitting, adapter: { method: 'bottelneck' } });
    assert.match((await check(method, '--base', base)).errors, /did you mean bottleneck/);
  });

  it('[PLC-4] without a base it refuses what no base would take: unknown methods, fields and metrics, in every phase', async () => {
    const plan = minimalPlan();
    const gate = { by: 'operator', file: 'rows.jsonl', digest: 'ab'.repeat(32), metric: 'entityF1' };
    const member = { id: 'own', method: 'bottleneck' };
    for (const [changes, expected] of [
      [{ adapter: { method: 'lorra' } }, /method must be one of none, .* \(did you mean lora\?\), found "lorra"/],
      [{ adapter: { method: 'lora', rnak: 4 } }, /adapter lora: rnak is not a known field/],
      [{ adapter: { method: 'lora', rank: 0 } }, /adapter lora: rank must be a whole number from 1/],
      [
        { adapter: { method: 'stack', members: [member, { ...member, id: 'other', sise: 4 }] } },
        /members\[1\]: adapter bottleneck: sise is not a known field/,
      ],
      [{ canary: gate }, /canary\.metric must be one of accuracy, .*, which are those of the task, found entityF1/],
      [
        { adapter: { method: 'bottleneck' }, aggregation: { publishedRank: 8, lowRank: 'stack' } },
        /aggregation\.publishedRank must be left out with the adapter bottleneck/,
      ],
      [
        { phases: [{ name: 'one' }, { name: 'two', adapter: { method: 'lora', rnak: 4 } }] },
        /rnak is not a known field/,
      ],
    ] as const) {
      const refused = await check(write('wrong.json', { ...plan, ...changes }));
      assert.equal(refused.code, 2, refused.output);
      assert.match(refused.errors, expected);
      assert.equal(refused.output, '');
    }
    const members = ['one', 'two'].map((phase) => ({ id: phase, phase }));
    const phases = [
      { name: 'one', adapter: { method: 'bottleneck', size: 4 } },
      { name: 'two', adapter: { method: 'lora' } },
      { name: 'both', adapter: { method: 'stack', members } },
    ];
    const { adapter: _, ...others } = plan;
    const right = await check(write('phases.json', { ...others, training: { localSteps: 3 }, phases }));
    assert.equal(right.code, 0, right.errors);
  });

  it('[PLC-3] refuses with the reason of a policy, and a broken plan with its field', async () => {
    const plan = write('policed.json', minimalPlan());
    const strict = write('policy.json', { methods: ['none'] });
    const refused = await check(plan, '--policy', strict);
    assert.equal(refused.code, 2);
    assert.match(refused.errors, /refused by .*policy\.json: the plan trains with/);
    const broken = await check(write('broken.json', { ...minimalPlan(), rounds: { count: 0, quorum: 1 } }));
    assert.equal(broken.code, 2);
    assert.match(broken.errors, /rounds\.count must be a whole number from 1 to \d+, found 0/);
  });
});
