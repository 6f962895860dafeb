/** Masked rounds whose sum does not open, over whole clients and a whole coordinator: what is signed about them, who hears it, and what comes next (amendment 2). */
import { strict as assert } from 'node:assert';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { openVoid } from '../../shared/protocol/void-record.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { losingCalls, platformIn, runClient } from './memory-federation.ts';

const dim = 7;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');

/** The world as a client sees it whose consent to the first round gets lost. */
function withoutFirstConsent(world: World): World {
  let count = 0;
  return losingCalls(world, ({ kind }) => kind === 'AGREE' && count++ === 0);
}

async function federate() {
  const state = memoryState(seededEntropy(41));
  const changes = {
    rounds: { count: 1, cohortSize: 4, quorum: 4, voidsMax: 3 },
    evaluation: { everyRounds: 0 },
    secureAggregation: { mode: 'on' },
  };
  const world = await startWorld({
    plan: { ...testPlan(changes), base: { digest: fixedBaseDigest(fixedBase) } },
    ...fixedStart(dim),
    state,
  });
  const platforms = [0, 1, 2, 3].map((index) => platformIn(world, 600 + index));
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (const [index, platform] of platforms.entries()) {
    const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(0.25) });
    const seen = index < 2 ? withoutFirstConsent(world) : world;
    clients.push(await runClient(seen, { platform, learner, policy }));
  }
  for (let turn = 0; turn < 120 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  for (let turn = 0; turn < 5; turn++) await settled();
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const document = {
    federation: (await state.store.federation())!,
    coordinatorKey: toHex(state.identity.publicKey),
    rows: await state.store.log.rows(0),
    checkpoints: await state.store.log.checkpoints(),
    versions: await state.store.versions(),
  };
  return { world, document, platforms, problems: clients.flatMap(({ problems }) => problems) };
}

describe('void rounds', () => {
  afterEach(closeWorlds);

  it('[VOI-1] a round that does not open is signed as void with its reason, in the log and at every client; the next number has the same model', async () => {
    const { world, document, platforms, problems } = await federate();
    assert.deepEqual(problems, []);
    const [first, version] = await world.coordinator.library();
    assert.equal(version!.record.round?.roundIndex, 1);
    const entry = document.rows.find(({ payload }) => payload.includes('below-threshold'))!;
    const { record } = JSON.parse(entry.payload) as { readonly record: string };
    const signed = openVoid(fromHex(document.coordinatorKey), fromHex(record));
    assert.ok(signed.ok);
    const { roundIndex, nextRoundIndex, modelHash, reason } = signed.value;
    assert.deepEqual([roundIndex, nextRoundIndex, modelHash], [0, 1, first!.record.modelHash]);
    assert.match(reason, /expected at least 3 consents, found 2/);
    for (const { evidenceFiles } of platforms) {
      const kept = [...evidenceFiles].find(([name]) => name.endsWith('void-0.json'));
      assert.ok(kept !== undefined && new TextDecoder().decode(kept[1]).includes(record));
    }
    assert.deepEqual(verifyLog(document).faults, []);
  });

  it('[VOI-2] a void round that was changed afterwards, or published all the same, is found in the log', async () => {
    const { document } = await federate();
    const index = document.rows.findIndex(({ payload }) => payload.includes('below-threshold'));
    const changed = (change: (payload: Record<string, unknown>) => object) => {
      const rows = document.rows.map((row, place) =>
        place === index ? { ...row, payload: JSON.stringify(change(JSON.parse(row.payload))) } : row,
      );
      return verifyLog({ ...document, rows }).faults.map(({ code }) => code);
    };
    assert.ok(changed(({ record, ...rest }) => ({ ...rest, record: String(record).replace(/..$/, '00') })).length > 0);
    const versions = document.versions.map((row) => (row.roundIndex === 1 ? { ...row, roundIndex: 0 } : row));
    const codes = verifyLog({ ...document, versions }).faults.map(({ code }) => code);
    assert.ok(codes.includes('bad-void'), codes.join());
  });
});
