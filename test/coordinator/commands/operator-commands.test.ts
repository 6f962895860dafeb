/** `tributary privacy` and `tributary quarantine` on the state of a federation that ran. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register as registerAudit } from '../../../coordinator/commands/audit.ts';
import { register as registerPrivacy } from '../../../coordinator/commands/privacy.ts';
import { register as registerQuarantine } from '../../../coordinator/commands/quarantine.ts';
import { openState } from '../../../coordinator/store/state.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { spendingOf } from '../../../shared/plan/privacy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../../client/fixed-learner.ts';
import { platformIn, runClient } from '../../end-to-end/memory-federation.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan } from '../harness.ts';

const dim = 6;
const groups = [
  { commands: { quarantine: 'quarantine' }, load: async () => ({ register: registerQuarantine }) },
  { commands: { privacy: 'privacy' }, load: async () => ({ register: registerPrivacy }) },
  { commands: { audit: 'audit' }, load: async () => ({ register: registerAudit }) },
];

async function run(...argv: string[]) {
  const terminal = fakeTerminal();
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv, version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('commands of an operator', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-operator-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  before(async () => {
    const plan = parsePlan(
      {
        ...testPlan({
          rounds: { count: 2, cohortSize: 3, quorum: 3 },
          aggregation: { weighting: 'equal' },
          evaluation: { everyRounds: 0 },
          audit: { retainUpdates: true },
        }),
        base: { digest: fixedBaseDigest(fixedBase) },
        privacy: { unit: 'client', noiseMultiplier: 2, epsilon: 50 },
        quarantine: { marks: 2, rounds: 5, lengthFactor: 10 },
      },
      'the test',
    );
    const world = await startWorld({
      plan,
      state: await openState(folder, seededEntropy(1)),
      ...fixedStart(dim),
    });
    const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
    const ends = [];
    for (let index = 0; index < 3; index++) {
      const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(index === 0 ? 1e3 : 1) });
      ends.push((await runClient(world, { platform: platformIn(world, 870 + index), learner, policy })).ended);
    }
    await world.coordinator.ended;
    await Promise.all(ends);
    await closeWorlds();
  });

  it('[OPC-1] privacy shows epsilon by version and in total, the unit, and against whom it holds', async () => {
    const { code, output, errors } = await run('privacy', '--state', folder);
    assert.equal(code, 0, errors);
    assert.match(output, /version +round +protects +epsilon of the round +epsilon in total +of +delta/);
    assert.match(output, /1 +0 +all of a client +([\d.]+) +\1 +50 +0.00001/);
    assert.match(
      output,
      /in total epsilon [\d.]+ of 50 at delta 0.00001\nit holds against everybody who sees versions/,
    );
    const { output: json } = await run('privacy', '--state', folder, '--json');
    const { versions, total } = JSON.parse(json);
    assert.equal(versions.length, 3);
    assert.ok(Math.abs(versions[1].added + versions[2].added - total.epsilon) < 1e-9);
  });

  it('[OPC-2] quarantine lists who is set aside and why, and releases by the first digits of the id', async () => {
    const { output, errors } = await run('quarantine', 'list', '--state', folder);
    assert.match(output, /round 1 +long in round 0, long in round 1/, errors);
    const { clients } = JSON.parse((await run('quarantine', 'list', '--state', folder, '--json')).output);
    assert.equal(clients.length, 1);
    const [{ clientId }] = clients;
    assert.equal((await run('quarantine', 'release', 'ffffffffffff', '--state', folder)).code, 2);
    const released = await run('quarantine', 'release', clientId.slice(0, 8), '--state', folder);
    assert.equal(released.code, 0, released.errors);
    assert.match(
      (await run('quarantine', 'release', clientId, '--state', folder)).errors,
      /is neither set aside nor was it ejected/,
    );
    assert.match((await run('quarantine', 'list', '--state', folder)).output, /no client has a mark/);
  });

  it('[OPC-3] audit verify makes a round with central noise again', async () => {
    const { code, output, errors } = await run('audit', 'verify', '--state', folder, '--round', '1');
    assert.equal(code, 0, errors);
    assert.match(output, /round 1: version 2 made again of 3 updates\neverything holds/);
  });

  it('[OPC-4] privacy charges the numbers of void rounds after the last version like any other', async () => {
    const totalOf = async () => JSON.parse((await run('privacy', '--state', folder, '--json')).output).total;
    const before = await totalOf();
    const state = await openState(folder, seededEntropy(2));
    await state.store.openRound(2, 'ab'.repeat(32) as Digest, 3);
    await state.store.voidRound(2, 0, 'the test');
    const plan = parsePlan(JSON.parse((await state.store.federation())!.plan), 'the test');
    await state.close();
    const after = await totalOf();
    assert.deepEqual([before.roundNumbersSince, after.roundNumbersSince], [0, 1]);
    const exact = spendingOf(plan, dim)!.epsilonAfter(3);
    assert.ok(after.epsilon >= exact && after.epsilon < exact * 1.001, `${after.epsilon} for ${exact}`);
    assert.ok(after.epsilon > before.epsilon);
    const { output } = await run('privacy', '--state', folder);
    assert.match(output, /; the last 1 round numbers made no version and are charged like any other\n/);
  });
});
