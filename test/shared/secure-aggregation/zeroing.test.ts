/**
 * Secrets of a masked round and who owns them: every buffer that a machine drew, keeps or hands out is zeroed at the end of its phase. The list below
 * is walked after every step of both machines, whether the attempt ends well, is given up in any phase, or breaks.
 *
 * | owner | secrets | until |
 * |---|---|---|
 * | `ClientSecrets` | c, s, b | the vector is masked |
 * | client machine | own shares, shares that it holds of others | its shares are sent, or the attempt ends |
 * | `dealShares` | coefficients of the polynomials, copies of shares | the boxes are sealed |
 * | `takeIdentity` | the seed of a key that was read | the key is made |
 * | `MaskToApply` | seeds of masks | they are applied |
 * | `openSecrets`, `Opening` | opened s and b | the masks are taken off, or a dealer is found to have lied |
 * | `masked-work`, `client.ts` | the key of rounding of a round, and the secret that it comes from | the vector is encoded; the client ends |
 */
import { strict as assert } from 'node:assert';
import { openSum } from '../../../coordinator/masking/masked-sum.ts';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import type { Entropy } from '../../../shared/core/ports.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { identityFromSeed, takeIdentity } from '../../../shared/crypto/identity.ts';
import { decodeCanonical } from '../../../shared/protocol/canonical.ts';
import { violation } from '../../../shared/protocol/violations.ts';
import type { ClientPhase } from '../../../shared/secure-aggregation/client-state.ts';
import { selfCommitmentOf, unmaskFormat } from '../../../shared/secure-aggregation/messages.ts';
import { type OpeningSource, openSecrets } from '../../../shared/secure-aggregation/opening.ts';
import type { Opening } from '../../../shared/secure-aggregation/server-state.ts';
import { productionMachines } from '../../../simulations/world/machines.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { identityOf, runCohort } from './cohort.ts';

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
const given = violation('stale-round', 'given up');

/** Entropy that remembers what it gave. */
function remembering(seed: number): Entropy & { readonly drawn: Uint8Array[] } {
  const source = seededEntropy(seed);
  const drawn: Uint8Array[] = [];
  return {
    drawn,
    bytes: (count) => {
      const bytes = source.bytes(count);
      drawn.push(bytes);
      return bytes;
    },
  };
}

/** Secret buffers that a phase holds, by the path to them. */
function secretsIn(phase: ClientPhase): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const own = phase.name === 'signing' ? phase.next : phase;
  if ('secrets' in own) for (const [name, secret] of Object.entries(own.secrets)) found.set(`secrets.${name}`, secret);
  if ('own' in own) for (const [name, share] of Object.entries(own.own)) found.set(`own.${name}`, share);
  if ('held' in own)
    for (const [dealer, shares] of own.held)
      for (const [name, share] of Object.entries(shares ?? {})) found.set(`held.${dealer}.${name}`, share);
  return found;
}

/** Runs five clients, the first of which gives up when it reaches `stopAt`; what its machine ever held, by path. */
function walk(stopAt: ClientPhase['name'] | null) {
  const first = identityOf(0).clientId;
  const held = new Map<string, Uint8Array>();
  const seeds: Uint8Array[] = [];
  const phases: ClientPhase['name'][] = [];
  const afterMasking: boolean[] = [];
  const openings: Opening[] = [];
  const entropy = remembering(5);
  runCohort({
    clientCount: 5,
    machines: {
      ...productionMachines,
      startAttempt: (setting) =>
        productionMachines.startAttempt(setting.clientId === first ? { ...setting, entropy } : setting),
      receiveAsClient: (state, event) => {
        const isFirst = state.setting.clientId === first;
        const isOver = state.phase.name === 'finished' || state.phase.name === 'aborted';
        const step =
          isFirst && state.phase.name === stopAt && !isOver
            ? productionMachines.receiveAsClient(state, { type: 'abandon', reason: given })
            : productionMachines.receiveAsClient(state, event);
        if (!isFirst) return step;
        phases.push(step.state.phase.name);
        for (const [path, secret] of secretsIn(step.state.phase))
          held.set(`${path} in ${step.state.phase.name}`, secret);
        for (const effect of step.effects)
          if (effect.type === 'mask-vector') seeds.push(...effect.masks.flatMap(({ seed }) => Object.values(seed)));
        if (state.phase.name === 'masking' && step.state.phase.name === 'signing')
          afterMasking.push(
            ...[...secretsIn(step.state.phase)]
              .filter(([path]) => path.startsWith('secrets.'))
              .map(([, secret]) => isZero(secret)),
          );
        return step;
      },
      receiveAsServer: (state, event) => {
        const step = productionMachines.receiveAsServer(state, event);
        for (const effect of step.effects) if (effect.type === 'open-sum') openings.push(effect.opening);
        return step;
      },
    },
  });
  return { held, seeds, phases, afterMasking, openings, drawn: entropy.drawn };
}

describe('zeroing of secrets', () => {
  it('[ZER-1] a client that comes to its end has nothing left of what it drew, dealt or held', () => {
    const { held, seeds, phases, afterMasking, drawn } = walk(null);
    assert.equal(phases.at(-1), 'unmasked', 'its last message is sent');
    assert.ok(held.size > 30, `${held.size} buffers were walked`);
    for (const [path, secret] of held) assert.ok(isZero(secret), path);
    assert.deepEqual(afterMasking, [true, true, true], 'keys go when the vector is masked, not when the round ends');
    assert.ok(seeds.length >= 10 && seeds.every(isZero), 'seeds of masks');
    assert.equal(drawn.length, 5, 'three secrets and the coefficients of two sharings');
    for (const [index, bytes] of drawn.entries()) assert.ok(isZero(bytes), `draw ${index} of ${bytes.length} bytes`);
  });

  for (const phase of ['signing', 'advertised', 'shared', 'masking', 'masked', 'agreed', 'journaling'] as const)
    it(`[ZER-2/${phase}] a client that gives up while ${phase} has nothing left`, () => {
      const { held, phases } = walk(phase);
      assert.equal(phases.at(-1), 'aborted');
      for (const [path, secret] of held) assert.ok(isZero(secret), path);
    });

  it('[ZER-3] the secrets that a coordinator opened are gone when the masks are off, also when a vector is missing', async () => {
    for (const isMissing of [false, true]) {
      const { openings } = walk(null);
      const [opening] = openings;
      assert.ok(opening !== undefined);
      const secrets = [...opening.survivors, ...opening.vanished].map(({ secret }) => secret);
      assert.equal(secrets.length, 5);
      const source = {
        shape: { ringBits: 32, dim: 21, tail: 2 },
        suite: 1,
        opening,
        blobs: createMemoryBlobs(),
      } as const;
      const roots = isMissing ? ['ab'.repeat(32) as Digest] : [];
      const opened = openSum({ ...source, roots });
      if (isMissing) await assert.rejects(opened);
      else await opened;
      assert.ok(secrets.every(isZero));
    }
  });

  it('[ZER-5] the seed of a key is zeroed by whoever takes it for an identity, which signs as before', () => {
    for (const engine of [null, engineCrypto]) {
      const seed = seededEntropy(8).bytes(32);
      const kept = identityFromSeed(seed);
      const taken = takeIdentity(seed, engine);
      assert.ok(isZero(seed));
      assert.deepEqual(taken.sign('UPDATE', Uint8Array.of(1)), kept.sign('UPDATE', Uint8Array.of(1)));
    }
  });

  it('[ZER-4] where one dealer lied, the secrets that a coordinator had opened of the others are gone at once', () => {
    let before: OpeningSource | null = null;
    const { receiveAsServer } = productionMachines;
    runCohort({
      clientCount: 5,
      machines: {
        ...productionMachines,
        receiveAsServer: (state, event) => {
          const { phase, setting } = state;
          const { roundHash } = setting;
          if (phase.name === 'unmasking' && event.type === 'unmask') {
            const said = decodeCanonical(unmaskFormat, event.body, 'M5');
            assert.ok(said.ok);
            const { place, shares } = said.value;
            const answers = new Map(phase.answers).set(place, new Map(shares.map((one) => [one.dealer, one.share!])));
            before = { ...phase, roundHash, answers, threshold: 4 };
          }
          return receiveAsServer(state, event);
        },
      },
    });
    assert.ok(before !== null);
    const source: OpeningSource = before;
    const lying = new Map(
      [...source.answers].map(([holder, given]) => [holder, new Map(given).set(4, new Uint8Array(32).fill(holder))]),
    );
    const zeroed: Uint8Array[] = [];
    const { fill } = Uint8Array.prototype;
    Uint8Array.prototype.fill = function watched(value, ...range) {
      if (value === 0 && this.length === 32 && range.length === 0) zeroed.push(this.slice());
      return fill.call(this, value, ...range);
    };
    try {
      assert.deepEqual(openSecrets({ ...source, answers: lying }), { dealer: 4 });
    } finally {
      Uint8Array.prototype.fill = fill;
    }
    const commitments = source.members.members.map(
      ({ clientId, advert }) => [clientId, advert.selfCommitment] as const,
    );
    for (const [clientId, commitment] of commitments.slice(0, 4))
      assert.ok(zeroed.some((secret) => selfCommitmentOf(source.roundHash, clientId, secret) === commitment));
  });
});
