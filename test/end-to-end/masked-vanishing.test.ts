/** Clients that vanish from a masked round in each of their states, over whole clients and a whole coordinator (security specification, section 2.6). */
import { strict as assert } from 'node:assert';
import { float32Of } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import type { PlainCall } from '../../shared/protocol/messages.ts';
import { type Shares, shareHashOf, sharesFormat, unmaskFormat } from '../../shared/secure-aggregation/messages.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, settled, startWorld, testPlan } from '../coordinator/harness.ts';
import { losingCalls, platformIn, runClient } from './memory-federation.ts';

const dim = 7;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
type Kind = PlainCall<'masked'>['kind'];
/** When a client is gone: while it trains, before it says something, or after the last that it says. */
type Moment = 'training' | Kind | 'end';

type Said = { readonly client: number } & PlainCall<'masked'>;
/** Which secrets of a client were opened. */
type Opened = 'mask' | 'self';

/**
 * Which secret of each client that dealt shares was opened, attempt by attempt: every share that was sent, held to what its dealer signed of both. Never
 * both of one dealer in one attempt.
 */
function openedOf(said: readonly Said[]): ReadonlyMap<number, Opened>[] {
  const sharesOf = new Map<string, { readonly client: number; readonly body: Shares }[]>();
  for (const { client, kind, body } of said) {
    if (kind !== 'SHARES') continue;
    const shares = decodeCanonical(sharesFormat, body, 'M2');
    assert.ok(shares.ok);
    const { rosterHash } = shares.value;
    sharesOf.set(rosterHash, [...(sharesOf.get(rosterHash) ?? []), { client, body: shares.value }]);
  }
  return [...sharesOf].map(([rosterHash, dealers]) => {
    const opened = new Map<number, Opened>();
    for (const { kind, body } of said) {
      const unmask = kind === 'UNMASK' ? decodeCanonical(unmaskFormat, body, 'M5') : null;
      if (!unmask?.ok) continue;
      const { place: holder, shares } = unmask.value;
      for (const { dealer, share } of shares) {
        const found = dealers.find((one) => one.body.place === dealer);
        const dealt = found?.body.dealt.find((one) => one.holder === holder) ?? found?.body.own;
        if (found === undefined || dealt === undefined || share === null) continue;
        for (const secret of ['mask', 'self'] as const) {
          if (shareHashOf(rosterHash as Digest, { dealer, holder }, secret, share) !== dealt[`${secret}Hash`]) continue;
          assert.equal(
            opened.get(found.client) ?? secret,
            secret,
            `both secrets of client ${found.client} were opened`,
          );
          opened.set(found.client, secret);
        }
      }
    }
    return opened;
  });
}

/**
 * Masked rounds of clients with the deltas 0.01, 0.02, 0.04, …, of which some vanish in the first: a hundred times the sum of each version.
 * Who `comesBack` is started again at once on what it keeps: its key and its journal.
 */
async function federate(vanishing: readonly (Moment | null)[], { comesBack = false, roundCount = 1 } = {}) {
  const changes = {
    rounds: { count: roundCount, cohortSize: vanishing.length, quorum: 3, voidsMax: 1 },
    evaluation: { everyRounds: 0 },
    secureAggregation: { mode: 'on' },
  };
  const world = await startWorld({
    plan: { ...testPlan(changes), base: { digest: fixedBaseDigest(fixedBase) } },
    ...fixedStart(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  const isOver = (): boolean => world.events.some(({ type }) => type === 'published' || type === 'void');
  const said: Said[] = [];
  /** What those who came back said while the first round went on. */
  const saidAgain: string[] = [];
  const start = async (index: number, isFirst = true): Promise<void> => {
    const moment = vanishing[index] ?? null;
    let isGone = false;
    const vanish = (): true => {
      isGone = true;
      setImmediate(() => {
        running.stop();
        if (comesBack && isFirst) start(index, false).catch(assert.fail);
      });
      return true;
    };
    const seen = losingCalls(world, (call) => {
      const isLost = loses(call.kind);
      if (!isLost) said.push({ ...call, client: index });
      return isLost;
    });
    const loses = (kind: Kind): boolean => {
      if (isGone) return true;
      if (!isFirst && !isOver()) saidAgain.push(kind);
      if (!isFirst || moment === null) return false;
      if (kind === moment) return vanish();
      // What it says last arrives, and it hears no answer.
      if (kind === 'UNMASK' && moment === 'end') vanish();
      return false;
    };
    const delta = async (_roundIndex: number, _start: Float32Array, signal: AbortSignal) => {
      if (isFirst && moment === 'training') {
        vanish();
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('it is gone'))));
      }
      return new Float32Array(dim).fill(2 ** index / 100);
    };
    const learner = fixedLearner({ dim, delta });
    const running = await runClient(seen, { platform: platforms[index]!, learner, policy });
    clients.push(running);
  };
  const platforms = vanishing.map((_, index) => platformIn(world, 500 + index));
  for (const index of vanishing.keys()) await start(index);
  for (let turn = 0; turn < 60 * roundCount && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const opened = world.events.find((event) => event.type === 'masking' && event.stage === 'opened');
  const versions = await world.coordinator.library();
  const sums: number[] = [];
  let before = 0;
  for (const { row, record } of versions.slice(1)) {
    const [value = 0] = float32Of(await world.coordinator.adapter(row));
    sums.push(Math.round(100 * (value - before) * record.contributors.length));
    before = value;
  }
  return { sums, opened, saidAgain, secrets: openedOf(said) };
}

/** Every state of a client, by what it would say next, whether its update is in the sum when it is lost there, and which of its secrets is opened. */
const states = [
  ['training', 'training', false, undefined],
  ['READY', 'ADVERT', false, undefined],
  ['ADVERTISED', 'SHARES', false, undefined],
  ['SHARED', 'MASKED', false, 'mask'],
  ['MASKED', 'AGREE', true, 'self'],
  ['AGREED', 'UNMASK', true, 'self'],
  ['REVEALED', 'end', true, 'self'],
] as const;

describe('clients that vanish from a masked round', () => {
  afterEach(closeWorlds);

  for (const [state, moment, isIn, secret] of states) {
    it(`[VAN-1] client-crash each state: one of four in ${state}: the sum is of ${isIn ? 'all, the vanished one too' : 'the others'}; of its secrets ${secret === undefined ? 'none' : `the ${secret} secret alone`} is opened`, async () => {
      const { sums, secrets } = await federate([moment, null, null, null]);
      assert.deepEqual(sums, [isIn ? 15 : 14]);
      assert.deepEqual(
        secrets.map((attempt) => [0, 1, 2, 3].map((client) => attempt.get(client))),
        [[secret, 'self', 'self', 'self']],
      );
    });
  }

  for (const [state, moment, isIn] of states.slice(1)) {
    it(`[VAN-4] client-crash each state: started again in ${state} it says nothing more in that attempt, and is in the next round`, async () => {
      const { sums, saidAgain, secrets } = await federate([moment, null, null, null], {
        comesBack: true,
        roundCount: 2,
      });
      assert.deepEqual([sums, saidAgain, secrets.length], [[isIn ? 15 : 14, 15], [], 2]);
    });
  }

  it('[VAN-5] client-crash each state: started again while the others train it trains again, and takes part', async () => {
    const { sums, saidAgain } = await federate(['training', null, null, null], { comesBack: true });
    assert.deepEqual([sums, saidAgain], [[15], ['ADVERT', 'SHARES', 'MASKED', 'AGREE', 'UNMASK']]);
  });

  it('[VAN-2] more than the threshold allows: nothing is opened, and the round is void', async () => {
    for (const kind of ['SHARES', 'MASKED', 'UNMASK'] as const) {
      const { sums, opened, secrets } = await federate([kind, kind, null, null]);
      assert.deepEqual([sums, opened], [[], undefined], kind);
      // Nobody says a share before it knows that survivors enough agreed.
      assert.equal(secrets[0]!.size, kind === 'UNMASK' ? 4 : 0, kind);
    }
  });

  it('[VAN-3] two of seven in different stages', async () => {
    assert.deepEqual((await federate(['SHARES', 'AGREE', null, null, null, null, null])).sums, [127 - 1]);
  });
});
