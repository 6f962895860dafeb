/** What a client of a masked round may send against the protocol, over whole clients and a whole coordinator: its reason, and the others' round. */
import { strict as assert } from 'node:assert';
import { judgeContradiction } from '../../coordinator/audit/contradiction.ts';
import { entryOf, payloadOf } from '../../coordinator/audit/log-store.ts';
import { fileOf } from '../../coordinator/enrolment/quarantine.ts';
import { toHex } from '../../shared/core/bytes.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../shared/crypto/identity.ts';
import { decodeCanonical, encodeCanonical } from '../../shared/protocol/canonical.ts';
import { vectorRoot } from '../../shared/protocol/vector.ts';
import type { ViolationCode } from '../../shared/protocol/violations.ts';
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import { type Masked, maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import { sharesThatStayShut } from '../../simulations/faults/hostile-client.ts';
import { closeWorlds } from '../coordinator/harness.ts';
import { federateWith, type Hands, type Heard, type Hostility, type OwnCall } from './hostile-member.ts';

const stranger = identityFromSeed(new Uint8Array(32).fill(9), engineCrypto);
const random = seededRandom(5, 'hostile member');
const near = (found: number, expected: number) => assert.ok(Math.abs(found - expected) < 1e-5, `${found}, ${expected}`);

/** Does something in place of the call that announces the vector. */
const atVector = (act: (call: OwnCall, hands: Hands) => Promise<Heard | null>): Hostility => ({
  call: async (call, hands) => (call.said?.kind === 'MASKED' ? act(call, hands) : null),
});
/** Sends another chunk in place of each. */
const chunkOf = (change: (bytes: Uint8Array) => Uint8Array): Hostility => ({
  call: async (call, { send }) =>
    call.name === 'upload-chunk' ? send({ ...call, attachment: change(call.attachment!) }) : null,
});
/** The announcement of a vector, bent. */
function announcement({ said }: OwnCall, bend: (body: Masked) => Masked): Uint8Array {
  const body = decodeCanonical(maskedFormat, said!.body, 'M3');
  assert.ok(body.ok);
  return encodeCanonical(maskedFormat, bend(body.value));
}

const vectorOf = (body: Masked, chunkDigests: Masked['chunkDigests']): Masked => ({
  ...body,
  chunkDigests,
  vecRoot: vectorRoot(chunkBytesMax, chunkDigests),
});

/** What one of five does, with the reason that it hears; its vector does not count. */
const refusals: readonly (readonly [string, ViolationCode, Hostility])[] = [
  ['wrong-length: a chunk that is cut', 'wrong-length', chunkOf((bytes) => bytes.subarray(4))],
  ['wrong-length: a chunk that goes on', 'wrong-length', chunkOf((bytes) => Uint8Array.of(...bytes, 0, 0, 0, 0))],
  [
    'oversize-payload: more chunks than the vector has',
    'update-too-large',
    atVector((call, { other, send }) =>
      send(
        other(
          call,
          announcement(call, (body) => vectorOf(body, [...body.chunkDigests, ...body.chunkDigests])),
        ),
      ),
    ),
  ],
  [
    'impersonation: of another key',
    'wrong-signature',
    atVector((call, { other, send }) => send(other(call, call.said!.body, stranger))),
  ],
  [
    'impersonation: in the place of another',
    'wrong-sender',
    atVector((call, { other, send }) =>
      send(
        other(
          call,
          announcement(call, (body) => ({ ...body, place: (body.place + 1) % 5 })),
        ),
      ),
    ),
  ],
];

describe('a hostile client in masked rounds', () => {
  afterEach(closeWorlds);

  for (const [name, code, hostility] of refusals)
    it(`[HOM-1] ${name}: ${code}, and the others' sum is opened`, async () => {
      const { end, ids, library, values, refused, problems } = await federateWith({ clientCount: 5, hostility });
      assert.equal(end.status, 'completed', end.detail);
      assert.deepEqual(refused, [[ids[0], code]]);
      assert.deepEqual(problems.flat(), []);
      const { record } = library[1]!;
      assert.deepEqual(record.contributors, ids.slice(1).sort());
      assert.deepEqual(record.rejections, [{ code, count: 1 }]);
      near(values[1]!, 0.35);
    });

  for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
    it(`[HOM-7] nan-inf-delta: training that gives ${value} ends at its own client, and the others' sum is opened`, async () => {
      const { end, ids, library, values, refused, own, problems } = await federateWith({
        clientCount: 4,
        hostility: { value },
      });
      assert.equal(end.status, 'completed', end.detail);
      assert.deepEqual([refused, problems.flat()], [[], []]);
      assert.match(own.join(), /^training-diverged: .*value 0 of 5 is not finite/);
      assert.deepEqual(library[1]!.record.contributors, ids.slice(1).sort());
      near(values[1]!, 0.3);
    });

  it('[HOM-2] identical-resubmit: the same announcement, chunk and commit get the same answers, and count once', async () => {
    const earlier: { readonly call: OwnCall; readonly answer: string }[] = [];
    const hostility: Hostility = {
      call: async (call, { send }) => {
        if (call.said === null && call.name !== 'upload-chunk' && call.name !== 'commit') return null;
        const heard = await send(call);
        const answer = toHex(heard.body);
        if (call.said?.kind === 'MASKED') {
          // Before its chunk came, and afterwards, the same announcement has other answers.
          assert.equal(toHex((await send(call)).body), answer);
          return heard;
        }
        earlier.push({ call, answer });
        // Once the sum is opened, chunks are taken no more.
        const again = call.said?.kind === 'UNMASK' ? earlier.slice(-1) : earlier;
        for (const before of again)
          assert.equal(toHex((await send(before.call)).body), before.answer, before.call.name);
        return heard;
      },
    };
    const { refused, library, values } = await federateWith({ clientCount: 4, hostility });
    assert.deepEqual(refused, []);
    // Keys, shares, the chunk of the vector and its receipt, consent, answer.
    assert.equal(earlier.length, 6);
    assert.equal(library[1]!.record.contributors.length, 4);
    near(values[1]!, 0.25);
  });

  it('[HOM-3] double-submit-conflict: before and after the first is whole another one is refused, the first counts, and both are evidence', async () => {
    for (const moment of ['masked', 'commit'] as const) {
      let announced: OwnCall | null = null;
      const hostility: Hostility = {
        call: async (call, { send, other }) => {
          if (call.said?.kind === 'MASKED') announced = call;
          if (announced === null || call.name !== moment || (call.said?.kind ?? 'MASKED') !== 'MASKED') return null;
          const heard = await send(call);
          const second = await send(
            other(
              announced,
              announcement(announced, (first) => vectorOf(first, [first.rosterHash])),
            ),
          );
          assert.equal(second.code, 'conflicting-update');
          announced = null;
          return heard;
        },
      };
      const { state, ids, refused, library, values } = await federateWith({ clientCount: 4, hostility });
      assert.deepEqual(refused, [[ids[0], 'conflicting-update']], moment);
      assert.equal(library[1]!.record.contributors.length, 4);
      near(values[1]!, 0.25);
      const rows = (await state.store.log.rows(0)).filter((row) => entryOf(row).type === 'client-contradicted');
      const [evidence] = rows.map(payloadOf);
      assert.deepEqual([rows.length, evidence?.kind, evidence?.clientId], [1, 'MASKED', ids[0]]);
      assert.equal(judgeContradiction(evidence!), null);
    }
  });

  /** A dealer whose shares are not those of the secrets that it announced, or whose boxes nobody can open. */
  const dealers: readonly (readonly [string, RegExp, Hostility])[] = [
    [
      'consistent shares of other secrets',
      /open nothing that it committed to/,
      {
        call: async (call, { secrets }) => {
          // Its keys are announced; what it deals afterwards are other secrets.
          if (call.said?.kind === 'ADVERT') for (const secret of secrets.slice(-2)) secret[7]! ^= 1;
          return null;
        },
      },
    ],
    [
      'boxes that stay shut',
      /below-threshold/,
      {
        call: async (call, { other, send }) => {
          if (call.said?.kind !== 'SHARES') return null;
          return send(other(call, sharesThatStayShut({ kind: 'SHARES', body: call.said.body, state: null, random })));
        },
      },
    ],
  ];
  for (const [name, reason, hostility] of dealers)
    it(`[HOM-4] bad-share-dealer: ${name}: the round is void, the dealer is ejected, and the next round succeeds without it`, async () => {
      const { state, world, end, ids, library, values } = await federateWith({ clientCount: 5, hostility });
      assert.equal(end.status, 'completed', end.detail);
      const rounds = await world.coordinator.rounds();
      assert.deepEqual(
        rounds.map(({ status }) => status),
        ['void', 'published'],
      );
      assert.match(rounds[0]!.detail, reason);
      const files = await Promise.all(ids.map(async (id) => (await fileOf(state.store, id)).ejectedIn));
      assert.deepEqual(files, [0, null, null, null, null]);
      const logged = (await state.store.log.rows(0)).filter((row) => entryOf(row).type === 'client-ejected');
      assert.deepEqual(logged.map(payloadOf), [{ clientId: ids[0], roundIndex: 0 }]);
      assert.deepEqual(library[1]!.record.cohort, ids.slice(1).sort());
      near(values[1]!, 0.35);
    });

  const vectors: readonly (readonly [string, (vector: MaskedVector) => void])[] = [
    [
      'ring-overflow-attack',
      ({ coordinates }) => {
        for (let at = 0; at < coordinates.length; at++) coordinates[at] = (coordinates[at]! + 2 ** 31) >>> 0;
      },
    ],
    [
      'scale-100x',
      ({ coordinates }) => {
        for (let at = 0; at < coordinates.length; at++) coordinates[at] = (100 * (coordinates[at]! | 0)) >>> 0;
      },
    ],
  ];
  for (const [name, vector] of vectors) {
    it(`[HOM-5] ${name}: its group is rejected, and the model moves by the others alone`, async () => {
      const options = {
        clientCount: 10,
        rounds: { quorum: 10 },
        // Bounds of single values that do not show what is too long as a whole.
        secureAggregation: { groupSize: 5, clipNorm: 4, coordBound: 8 },
      };
      const { end, ids, library, values } = await federateWith({ ...options, hostility: { vector } });
      assert.equal(end.status, 'completed', end.detail);
      const { contributors, measures } = library[1]!.record;
      assert.equal(contributors.includes(ids[0]!), false);
      assert.deepEqual(
        measures.filter(({ name: measure }) => measure.startsWith('groups')).map(({ value }) => value),
        [2, 1],
      );
      const others = ids.flatMap((id, index) => (contributors.includes(id) ? [(index + 1) / 10] : []));
      near(values[1]!, others.reduce((sum, value) => sum + value, 0) / others.length);
    });

    it(`[HOM-6] ${name}: a sum of all that nobody can have made makes its round void, and the model stays`, async () => {
      const { world, end, library, problems } = await federateWith({ clientCount: 4, hostility: { vector } });
      assert.equal(end.status, 'stopped');
      const rounds = await world.coordinator.rounds();
      for (const { status, detail } of rounds)
        assert.match(`${status}: ${detail}`, /void: .*its clients cannot have sent/);
      assert.equal(library.length, 1);
      assert.deepEqual(problems.flat(), []);
    });
  }
});
