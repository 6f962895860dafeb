/** Clients that break the protocol, against the real coordinator's machine; where a check stops them, first without it. */
import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { decodeCanonical, encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { dealShares } from '../../../shared/secure-aggregation/dealing.ts';
import { sharesFormat, unmaskFormat } from '../../../shared/secure-aggregation/messages.ts';
import { receiveAsServer } from '../../../shared/secure-aggregation/server-machine.ts';
import type { ServerEvent } from '../../../shared/secure-aggregation/server-state.ts';
import { thresholdsOf } from '../../../shared/secure-aggregation/threshold.ts';
import {
  falseAnswer,
  type Outgoing,
  otherVector,
  sharesOfOthers,
  sharesThatStayShut,
} from '../../../simulations/faults/hostile-client.ts';
import { loadMutant } from '../../simulation/mutants.ts';
import { type CohortOptions, plainSum, runCohort } from './cohort.ts';

const dim = 21;
const everybody = (clientCount: number): number[] => [...Array(clientCount).keys()];

/** Changes and signs anew what the clients of these indices send of one kind. */
function bendingUp(
  type: ServerEvent['type'],
  kind: Outgoing['kind'],
  indices: readonly number[],
  bend: (message: Outgoing) => Uint8Array,
): NonNullable<CohortOptions['bendUp']> {
  const random = seededRandom(1, 'bending');
  return (event, index, client) => {
    if (event.type !== type || !indices.includes(index) || !('body' in event)) return event;
    const body = bend({ kind, body: event.body, state: client.state, random });
    return { ...event, body, signature: client.identity.sign(kind, body) };
  };
}

/** M2 with shares of the true secrets, of two polynomials in turn. */
function offPolynomial({ body, state, random }: Outgoing): Uint8Array {
  assert.ok(state?.phase.name === 'shared');
  const { members, place, secrets } = state.phase;
  const threshold = thresholdsOf(members.members.length, state.setting.profile).shares;
  const entropy = { bytes: (count: number) => Uint8Array.from({ length: count }, () => random.integer(256)) };
  const first = decodeCanonical(sharesFormat, body, 'M2');
  assert.ok(first.ok);
  const { shares } = dealShares(members, place, { secrets, threshold, entropy });
  const dealt = first.value.dealt.map((one, index) => (index % 2 === 0 ? one : shares.dealt[index]!));
  return encodeCanonical(sharesFormat, { ...first.value, dealt });
}

describe('malicious client', () => {
  it('[bad-share-dealer] consistent shares of another secret: the dealer is proven and ejected, the next attempt without it succeeds', async () => {
    const bendUp = bendingUp('shares', 'SHARES', [1], sharesOfOthers);
    const lax = runCohort({ clientCount: 4, bendUp, machines: await loadMutant('unproven-dealer') });
    assert.notDeepEqual(lax.sum, plainSum(everybody(4), dim), 'without the check a false sum is opened');
    const outcome = runCohort({ clientCount: 4, bendUp });
    assert.equal(outcome.sum, null);
    assert.deepEqual(outcome.ejected, [outcome.clients[1]!.identity.clientId]);
    assert.deepEqual(
      runCohort({ clientCount: 4, seed: 2, vanishing: new Map([[1, 'ADVERT']]) }).sum,
      plainSum([0, 2, 3], dim),
    );
  });

  it('[bad-share-dealer] shares that match their hashes and lie on no polynomial: the dealer is proven, and nothing is opened', () => {
    for (const kind of ['mask', 'self'] as const) {
      // The mask secret is opened of who vanishes, the self secret of who stays.
      const vanishing = new Map(kind === 'mask' ? [[1, 'MASKED'] as const] : []);
      const outcome = runCohort({
        clientCount: 5,
        vanishing,
        bendUp: bendingUp('shares', 'SHARES', [1], offPolynomial),
      });
      assert.equal(outcome.sum, null);
      assert.deepEqual(outcome.ejected, [outcome.clients[1]!.identity.clientId], kind);
      assert.ok(!outcome.rejected.some(({ code }) => code === 'bad-share'), 'no holder is blamed');
    }
  });

  it('[bad-share-dealer] boxes that hold other shares than their hashes say: nothing is opened, and the dealer is named', () => {
    const bendUp = bendingUp('shares', 'SHARES', [1], ({ body }) => {
      const shares = decodeCanonical(sharesFormat, body, 'M2');
      assert.ok(shares.ok);
      const dealt = shares.value.dealt.map((one) => ({ ...one, selfHash: one.maskHash }));
      return encodeCanonical(sharesFormat, { ...shares.value, dealt });
    });
    const outcome = runCohort({ clientCount: 5, bendUp });
    assert.equal(outcome.sum, null);
    assert.deepEqual(outcome.ejected, [outcome.clients[1]!.identity.clientId]);
  });

  it('[bad-share-dealer] boxes that nobody can open: nothing is opened, and the dealer is named', () => {
    const outcome = runCohort({ clientCount: 5, bendUp: bendingUp('shares', 'SHARES', [1], sharesThatStayShut) });
    assert.equal(outcome.sum, null);
    assert.equal(outcome.server.phase.name, 'aborted');
    assert.deepEqual(outcome.ejected, [outcome.clients[1]!.identity.clientId]);
  });

  it('[bad-share-dealer] a few holders who say that a share was missing convict nobody', () => {
    const silent = bendingUp('unmask', 'UNMASK', [2], ({ body }) => {
      const unmask = decodeCanonical(unmaskFormat, body, 'M5');
      assert.ok(unmask.ok);
      const shares = unmask.value.shares.map(({ dealer }) => ({ dealer, share: null }));
      return encodeCanonical(unmaskFormat, { ...unmask.value, shares });
    });
    const vanishing = new Map([[3, 'UNMASK']] as const);
    const outcome = runCohort({ clientCount: 4, vanishing, bendUp: silent });
    assert.deepEqual([outcome.sum, outcome.ejected], [null, []]);
  });

  it('[bad-share-responder] with honest answers enough the sum is exact and the liar named; with fewer nothing is opened', async () => {
    // How many answer, who of them lies, whether as many honest answers are left as open a secret.
    for (const [clientCount, liars, isEnough] of [
      [4, [2], true],
      [7, [0, 3], true],
      [3, [2], false],
      [4, [0, 2], false],
      [7, [0, 3, 5], false],
    ] as const) {
      const outcome = runCohort({ clientCount, bendUp: bendingUp('unmask', 'UNMASK', liars, falseAnswer) });
      const what = `${liars.length} of ${clientCount} lie`;
      assert.deepEqual(outcome.sum, isEnough ? plainSum(everybody(clientCount), dim) : null, what);
      assert.equal(outcome.server.phase.name, isEnough ? 'opened' : 'aborted', what);
      const named = liars.map((liar) => ({ clientId: outcome.clients[liar]!.identity.clientId, code: 'bad-share' }));
      assert.deepEqual(outcome.rejected, named, what);
      assert.deepEqual(outcome.ejected, [], what);
    }
    const bendUp = bendingUp('unmask', 'UNMASK', [2], falseAnswer);
    const lax = runCohort({ clientCount: 3, bendUp, machines: await loadMutant('any-answer') });
    assert.ok(
      lax.sum !== null || lax.ejected.length > 0,
      'without the check a dealer is blamed, or a false sum opened',
    );
  });

  it('[double-submit-conflict] the first of two different vectors stays; [identical-resubmit] the same again changes nothing', async () => {
    const bendUp = bendingUp('masked', 'MASKED', [1], (message) => message.body);
    const outcome = runCohort({ clientCount: 4, bendUp, vanishing: new Map([[0, 'MASKED']]) });
    // Play the round again as far as the vectors, and send two of one client.
    const lax = await loadMutant('last-vector-counts');
    for (const [machines, expected] of [
      [lax, []],
      [{ receiveAsServer }, ['conflicting-update']],
    ] as const) {
      const before = replay(outcome.sent, outcome, 'masked');
      const masked = outcome.sent.find((event) => event.type === 'masked')!;
      const client = outcome.clients.find(
        ({ identity }) => 'clientId' in masked && identity.clientId === masked.clientId,
      )!;
      const first = machines.receiveAsServer(before, masked);
      assert.deepEqual(
        machines.receiveAsServer(first.state, masked).effects.filter(({ type }) => type === 'reject'),
        [],
      );
      const body = otherVector({
        kind: 'MASKED',
        body: (masked as { body: Uint8Array }).body,
        state: client.state,
        random: seededRandom(3),
      });
      const second = { ...masked, body, signature: client.identity.sign('MASKED', body) } as ServerEvent;
      const { state, effects } = machines.receiveAsServer(first.state, second);
      assert.equal(state === first.state, machines !== lax, 'the first stays');
      assert.deepEqual(
        effects.flatMap((effect) => (effect.type === 'reject' ? [effect.reason.code] : [])),
        expected,
      );
    }
  });

  it('[impersonation] a message under the name of another is refused, and its owner is heard', async () => {
    const outcome = runCohort({ clientCount: 4, vanishing: new Map([[0, 'MASKED']]) });
    const lax = await loadMutant('any-sender');
    const shares = outcome.sent.filter((event) => event.type === 'shares');
    const [own, other] = [shares[0]!, shares[1]!] as [
      { clientId: string },
      { body: Uint8Array; signature: Uint8Array },
    ];
    const before = replay(outcome.sent, outcome, 'shares');
    const forged = { ...other, clientId: own.clientId } as unknown as ServerEvent;
    const codes = (step: { readonly effects: readonly { readonly type: string }[] }) =>
      step.effects.flatMap((effect) =>
        effect.type === 'reject' ? [(effect as unknown as { reason: { code: string } }).reason.code] : [],
      );
    assert.deepEqual(codes(receiveAsServer(before, forged)), ['wrong-signature']);
    // Without the check its place still gives it away.
    assert.deepEqual(codes(lax.receiveAsServer(before, forged)), ['wrong-sender']);
    assert.deepEqual(codes(receiveAsServer(before, shares[0]!)), []);
  });
});

/** The coordinator before the first message of a kind. */
function replay(sent: readonly ServerEvent[], { server }: ReturnType<typeof runCohort>, until: ServerEvent['type']) {
  let state: typeof server = { setting: server.setting, phase: { name: 'advertising', adverts: new Map() } };
  for (const event of sent) {
    if (event.type === until) break;
    state = receiveAsServer(state, event).state;
  }
  return state;
}
