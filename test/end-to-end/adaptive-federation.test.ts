/** A whole federation without sockets whose clip norm follows its updates, with central noise that an auditor can draw again. */
import { strict as assert } from 'node:assert';
import { clipNormOf } from '../../coordinator/aggregation/clip-norm.ts';
import { isCommitted, noiseOf } from '../../coordinator/audit/central-noise.ts';
import { keysOf, replayRound } from '../../coordinator/audit/replay.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { epsilonText, readStatement, spendingOf } from '../../shared/plan/privacy.ts';
import { judgeVouchers } from '../../shared/secure-aggregation/voucher.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { fixedBase, fixedBaseDigest, fixedLayout, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 40;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const base = { digest: fixedBaseDigest(fixedBase) };
const privacy = { unit: 'client', clipNorm: 0.1, noiseMultiplier: 0.5, epsilon: 500, adaptive: { learningRate: 1 } };
const planWith = (changes: object) =>
  parsePlan(
    {
      ...testPlan({
        rounds: { count: 6, cohortSize: 4, quorum: 4 },
        aggregation: { weighting: 'equal' },
        evaluation: { everyRounds: 0 },
        audit: { retainUpdates: true },
      }),
      base,
      privacy,
      ...changes,
    },
    'the test',
  );

describe('adaptive clipping and kept noise', () => {
  afterEach(closeWorlds);

  it('[ACF-1] the norm follows the updates, versions name it, epsilon is that of a fixed norm, and rounds are made again with their noise', async () => {
    const state = memoryState(seededEntropy(1));
    const plan = planWith({});
    const world = await startWorld({
      plan,
      state,
      ...fixedStart(dim),
    });
    const ends = [];
    for (let index = 0; index < 4; index++) {
      // Every update has norm 2.
      const delta = () => new Float32Array(dim).fill(2 / Math.sqrt(dim));
      const learner = fixedLearner({ dim, delta });
      ends.push((await runClient(world, { platform: platformIn(world, 850 + index), learner, policy })).ended);
    }
    const end = await world.coordinator.ended;
    await Promise.all(ends);
    assert.equal(end.status, 'completed', end.detail);
    const versions = await world.coordinator.library();
    const norms = versions
      .slice(1)
      .map(({ record }) => record.measures.find(({ name }) => name === 'clip-norm')!.value);
    assert.ok(norms.at(-1)! > 2 * privacy.clipNorm, `norms ${norms.join()}`);
    const fixed = spendingOf(planWith({ privacy: { ...privacy, adaptive: undefined } }), dim)!;
    for (const [round, { record }] of versions.slice(1).entries()) {
      const spent = readStatement(record.privacy);
      assert.ok(Math.abs(spent.epsilon! / fixed.epsilonAfter(round + 1) - 1) < 1e-3);
      assert.deepEqual([spent.unit, spent.budget, spent.dpDelta], ['client', 500, 1e-5]);
      assert.match(record.privacy, /a clip norm that follows the updates, which is charged too/);
      assert.match(spent.against, /trusts|against everybody who sees versions/);
    }

    const { store, blobs, identity } = state;
    const roundIndex = 3;
    const { roundHash } = versions[roundIndex + 1]!.record.round!;
    assert.ok(await isCommitted(store, roundIndex));
    const rows = versions.slice(0, roundIndex + 1).map(({ row }) => row);
    const source = {
      plan,
      exchange: exchangeOf(plan.aggregation, fixedLayout(dim)),
      transcript: (await store.log.transcript(roundIndex))!,
      versions,
      keys: keysOf(await store.clients()),
      blobs,
      judgeAt: () => () => assert.fail('nothing is masked'),
      clipNorm: clipNormOf(plan, rows, identity.publicKey),
    };
    assert.equal(source.clipNorm, norms[roundIndex - 1]);
    const noise = await noiseOf(store, roundIndex, roundHash);
    assert.deepEqual((await replayRound({ ...source, noise })).faults, []);
    const other = await replayRound({ ...source, noise: await noiseOf(store, 2, roundHash) });
    assert.deepEqual(
      other.faults.map(({ code }) => code),
      ['aggregate-tamper'],
      'other noise than what was committed to gives another version',
    );
    await store.documents.put(`noise/${roundIndex}`, toHex(new Uint8Array(32).fill(7)));
    assert.equal(await isCommitted(store, roundIndex), false, 'a seed that was exchanged is not the one in the log');
  });

  it('[ACF-2] under masks the indicator travels in the tail with noise of its own, which is charged, and no update is seen', async () => {
    const distributed = { ...privacy, mechanism: 'distributed' };
    const masked = { secureAggregation: { mode: 'on' }, privacy: distributed };
    const plan = planWith(masked);
    const state = memoryState(seededEntropy(2));
    const world = await startWorld({
      plan,
      state,
      ...fixedStart(dim),
    });
    const ends = [];
    for (let index = 0; index < 4; index++) {
      const delta = () => new Float32Array(dim).fill(2 / Math.sqrt(dim));
      const learner = fixedLearner({ dim, delta });
      const { ended, problems } = await runClient(world, { platform: platformIn(world, 860 + index), learner, policy });
      ends.push(ended.then(() => assert.deepEqual(problems, [])));
    }
    const end = await world.coordinator.ended;
    await Promise.all(ends);
    assert.equal(end.status, 'completed', end.detail);
    const versions = await world.coordinator.library();
    const norms = versions
      .slice(1)
      .map(({ record }) => record.measures.find(({ name }) => name === 'clip-norm')!.value);
    assert.ok(norms.at(-1)! > 2 * privacy.clipNorm, `norms ${norms.join()}`);
    const fixed = spendingOf(planWith({ ...masked, privacy: { ...distributed, adaptive: undefined } }), dim)!;
    const own = spendingOf(plan, dim)!;
    assert.ok(own.epsilonAfter(6) > fixed.epsilonAfter(6), 'the quantile costs something');
    assert.ok(own.epsilonAfter(6) < 1.5 * fixed.epsilonAfter(6), 'and not much');
    assert.match(versions[1]!.record.privacy, /against everybody, the coordinator included/);
    // As long as the norm is far below the updates, a version moves by about the norm of its round.
    const adapters = await Promise.all(
      versions.map(async ({ row }) => float32Of(await world.coordinator.adapter(row))),
    );
    const step = Math.hypot(...adapters[1]!.map((value, index) => value - adapters[0]![index]!));
    assert.ok(step < 1, `the first step has length ${step}, updates have 2`);

    const roundIndex = 3;
    const rows = versions.slice(0, roundIndex + 1).map(({ row }) => row);
    const replayed = await replayRound({
      plan,
      exchange: exchangeOf(plan.aggregation, fixedLayout(dim)),
      transcript: (await state.store.log.transcript(roundIndex))!,
      versions,
      keys: keysOf(await state.store.clients()),
      blobs: state.blobs,
      judgeAt: () => judgeVouchers(state.identity.publicKey, world.coordinator.federationId),
      clipNorm: clipNormOf(plan, rows, state.identity.publicKey),
    });
    assert.deepEqual(replayed.faults, []);
  });

  it('[ACF-4] is refused where it cannot be combined, with the nearest plan that works', () => {
    const grouped = {
      secureAggregation: { mode: 'on', groupSize: 5 },
      rounds: { count: 2, quorum: 20, cohortSize: 20 },
    };
    assert.throws(
      () => planWith({ ...grouped, privacy: { ...privacy, mechanism: 'distributed' } }),
      /privacy\.adaptive must be left out: every group .* a fixed clipNorm is the nearest/,
    );
    assert.throws(() => planWith({ privacy: { unit: 'record', adaptive: {} } }), /privacy\.adaptive must be left out/);
    assert.throws(() => planWith({ privacy: { adaptive: {} } }), /privacy\.adaptive must be left out/);
  });

  it('[ACF-5] epsilon is printed with four digits and never below what was spent', () => {
    for (const [spent, text] of [
      [1.00004, '1.001'],
      [1, '1'],
      [0.123449, '0.1235'],
      [9.99951, '10'],
      [7.512e-5, '0.00007512'],
      [123456, '123500'],
      [0, '0'],
      [Number.POSITIVE_INFINITY, 'Infinity'],
    ] as const) {
      assert.equal(epsilonText(spent), text);
      assert.ok(Number(epsilonText(spent)) >= spent);
    }
  });

  it('[ACF-3] readStatement knows what spentStatement says, and promises nothing for anything else', () => {
    const none = readStatement('none: the coordinator could read every update');
    assert.deepEqual([none.unit, none.epsilon, none.against], ['none', null, 'nobody']);
  });
});
