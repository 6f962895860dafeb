/** `tributary privacy` and `tributary quarantine` on the state of a federation that ran. */
import { strict as assert } from 'node:assert';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
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

describe('privacy of masked rounds', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-masked-privacy-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('[OPC-7] without a consortium it says that the coordinator is trusted to be honest-but-curious', async () => {
    const plan = parsePlan(
      {
        ...testPlan({
          rounds: { count: 1, cohortSize: 3, quorum: 3 },
          aggregation: { weighting: 'equal' },
          evaluation: { everyRounds: 0 },
          secureAggregation: { mode: 'on' },
        }),
        base: { digest: fixedBaseDigest(fixedBase) },
        privacy: { unit: 'client', mechanism: 'distributed', epsilon: 20 },
      },
      'the test',
    );
    const world = await startWorld({ plan, state: await openState(folder, seededEntropy(11)), ...fixedStart(dim) });
    const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
    const ends = [];
    for (let index = 0; index < 3; index++) {
      const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(0.1) });
      ends.push((await runClient(world, { platform: platformIn(world, 880 + index), learner, policy })).ended);
    }
    await world.coordinator.ended;
    await Promise.all(ends);
    await closeWorlds();
    const { code, output, errors } = await run('privacy', '--state', folder);
    assert.equal(code, 0, errors);
    assert.match(
      output,
      /\nit holds against everybody, the coordinator included, .*; the coordinator vouches .* has to be honest-but-curious\n$/,
    );
  });
});

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
      /in total epsilon [\d.]+ of 50 at delta 0.00001\nit holds against everybody who sees versions; trusts the coordinator, which adds the noise/,
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

  it('[OPC-5] audit verify says whose log it is, and names a round whose transcript was changed or taken away instead of making it again', async () => {
    const honest = await run('audit', 'verify', '--state', folder, '--round', 'all');
    assert.equal(honest.code, 0, honest.errors);
    assert.match(honest.output, /^federation [0-9a-f]{64}, coordinator ([A-Z2-7]{4}-){7}[A-Z2-7]{4}: compare/);
    assert.match(honest.output, /\nno receipt was given: /);
    const tampered = async (change: string) => {
      const copy = join(folder, '..', `${folder}-tampered`);
      cpSync(folder, copy, { recursive: true });
      const database = new DatabaseSync(join(copy, 'coordinator.sqlite'));
      database.exec(change);
      database.close();
      const ended = await run('audit', 'verify', '--state', copy, '--round', 'all');
      rmSync(copy, { recursive: true });
      assert.equal(ended.code, 1);
      return ended.output;
    };
    const gone = await tampered('DELETE FROM transcripts WHERE round_index = 1');
    assert.match(gone, /\ntranscript-missing: round 1 cannot be made again: its plan keeps [^\n]*\n1 fault\n$/);
    const changed = await tampered(
      `UPDATE transcripts SET record = replace(record, '"signature":"', '"signature":"00') WHERE round_index = 1`,
    );
    assert.match(
      changed,
      /\nround 0: version 1 made again of 3 updates\nround 1: version 2 does not hold, see below\n/,
    );
    assert.match(changed, /\nunsigned-update: round 1: client /);
    const version = await tampered(
      `UPDATE versions SET record = replace(record, '"signature":"', '"signature":"00') WHERE version = 1`,
    );
    assert.match(version, /\nversion-damaged: version 1 is damaged: [^\n]*\n1 fault\n$/);
  });

  it('[OPC-6] an export is signed to its end, and one whose checkpoints were taken out does not hold', async () => {
    assert.equal((await run('audit', 'export', '--state', folder, '--out', join(folder, 'no', 'log.jsonl'))).code, 2);
    const state = await openState(folder, seededEntropy(3));
    await state.store.log.append([{ type: 'client-released', subject: 'the test', payload: {} }], 1);
    await state.close();
    const live = await run('audit', 'verify', '--state', folder);
    assert.equal(live.code, 0, live.errors);
    assert.match(live.output, /\nthe last \d+ entr(y|ies): not signed yet/);
    const log = join(folder, 'log.jsonl');
    for (const _ of [1, 2]) assert.equal((await run('audit', 'export', '--state', folder, '--out', log)).code, 0);
    const whole = await run('audit', 'verify', '--log', log, '--json');
    assert.equal(JSON.parse(whole.output).unsignedCount, 0);
    const lines = readFileSync(log, 'utf8').split('\n');
    assert.equal(new Set(lines).size, lines.length, 'nothing is signed twice');
    writeFileSync(log, lines.filter((line) => !line.includes('"checkpoint"')).join('\n'));
    const unsigned = await run('audit', 'verify', '--log', log);
    assert.equal(unsigned.code, 1);
    assert.match(unsigned.errors, /no good checkpoint signs the last \d+ of \d+ entries/);
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
