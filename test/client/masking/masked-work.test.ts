/** The site's own policy beside what a masked round says: the stricter of both holds, whatever the coordinator signed. */
import { strict as assert } from 'node:assert';
import { createMaskedWork } from '../../../client/masking/masked-work.ts';
import type { Calls } from '../../../client/transport/calls.ts';
import { utf8 } from '../../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../../shared/core/ids.ts';
import { succeed } from '../../../shared/core/result.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { clientIdOf } from '../../../shared/crypto/identity.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import type { Offer, PlainCall } from '../../../shared/protocol/messages.ts';
import { startAttempt } from '../../../shared/secure-aggregation/client-machine.ts';
import {
  type GroupedClientState,
  receiveAsGroupedClient,
  startGroupedAttempt,
} from '../../../shared/secure-aggregation/grouped-client.ts';
import type { Roster, RosterEntry } from '../../../shared/secure-aggregation/messages.ts';
import { rosterHashOf } from '../../../shared/secure-aggregation/messages.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { identityOf, judgeCertificate } from '../../shared/secure-aggregation/cohort.ts';

const roundHash = 'ab'.repeat(32) as Digest;
const groupSize = 5;
const noHead = { size: 0, root: '00'.repeat(32) as Digest };

/** Another client of the roster: its entry, and the nonce that it opens where there are groups. */
function other(index: number, isDivided: boolean): { readonly entry: RosterEntry; readonly nonce: Uint8Array } {
  const identity = identityOf(index);
  const certificate = utf8(`org ${index}`);
  const bounds = { clientCountMin: 3, clientCountMax: 128, organisationCountMin: 1, profile: 'active' } as const;
  const facts = { clientId: identity.clientId, certificateHash: digestOf(certificate), checkpoint: noHead };
  const setting = { roundHash, judgeCertificate, entropy: seededEntropy(index), ...bounds, ...facts };
  const grouped = startGroupedAttempt({ ...setting, grouping: { size: groupSize, clientCountMin: 3 } });
  const started = isDivided ? grouped : startAttempt(setting);
  const [effect] = started.effects;
  assert.ok(effect?.type === 'sign');
  const advert = effect.body;
  const { phase } = grouped.state as GroupedClientState;
  assert.ok(phase.name === 'announcing');
  const nonce = phase.nonce.slice();
  receiveAsGroupedClient(grouped.state, { type: 'abandon', reason: { code: 'stale-round', detail: '' } });
  const { publicKey } = identity;
  return { entry: { advert, signature: identity.sign('ADVERT', advert), publicKey, certificate }, nonce };
}

/** How a site with this policy leaves a round of `clientCount` clients, each of an organisation of its own, that asks for three of one. */
async function endOf(
  policy: object,
  clientCount: number,
  organisationOf = (index: number) => `org ${index}`,
  isDivided = false,
): Promise<string> {
  const identity = identityOf(0);
  const certificate = utf8(organisationOf(0));
  const others = Array.from({ length: clientCount - 1 }, (_, index) => other(index + 1, isDivided));
  const roster: { entries: RosterEntry[] } = { entries: [] };
  const nonces = new Map(others.map(({ entry, nonce }) => [entry, nonce]));
  const hear = ({ kind, body, signature }: Pick<PlainCall<'masked'>, 'kind' | 'body' | 'signature'>): void => {
    if (kind === 'ADVERT') {
      const own = { advert: body, signature, publicKey: identity.publicKey, certificate };
      const entries = [own, ...others.map(({ entry }) => entry)];
      entries.sort((left, right) => (clientIdOf(left.publicKey) < clientIdOf(right.publicKey) ? -1 : 1));
      roster.entries.push(...entries);
      work.take({ roundHash, event: { type: 'roster', roster } });
    }
    if (kind === 'DRAW') {
      const rosterHash = rosterHashOf(roundHash, roster as Roster);
      const own = body.subarray(-32);
      const drawn = { rosterHash, nonces: roster.entries.map((entry) => nonces.get(entry) ?? own) };
      work.take({ roundHash, event: { type: 'drawn', drawn } });
    }
    if (kind === 'SHARES') throw new Error('it deals shares');
  };
  const calls = {
    sendReady: async () => {
      work.take({ roundHash, event: { type: 'open' } });
      return succeed(certificate);
    },
    sendMasked: async (_: Digest, message: Parameters<typeof hear>[0]) => {
      hear(message);
      return succeed([]);
    },
  } as unknown as Calls;
  const work = createMaskedWork({
    member: {
      identity,
      federationId: 'f'.repeat(64) as FederationId,
      certificate,
      judgeCertificate: (shown, key) => judgeCertificate(ofOrganisation(shown, organisationOf), key),
      logHead: () => noHead,
      roundingSecret: new Uint8Array(32),
    },
    calls,
    policy: parsePolicy({ cohortMin: 1, quorumMin: 1, organisationsMin: 1, ...policy }, 'the test'),
    entropy: seededEntropy(77),
  });
  const graph = isDivided ? { mode: 2, neighbourCount: groupSize } : { mode: 0, neighbourCount: 0 };
  const bounds = { clientCountMin: 3, clientCountMax: 100, organisationCountMin: 1, profile: 1 };
  const roundParams = { suite: 1, sessionId: '5'.repeat(32), roundIndex: 0, ...bounds, ...graph };
  const offer = { roundHash, roundParams } as unknown as Offer;
  const contribution = { values: new Float32Array(3), weight: 1, exampleCount: 1, meanLoss: 0 };
  const options = { journal: async () => true, signal: new AbortController().signal, onProgress: () => undefined };
  const joined = await work.join(offer, contribution as never, options).catch((thrown: Error) => thrown);
  if (joined instanceof Error) return joined.message;
  return joined.ok ? 'took part' : joined.error.detail;
}

/** The certificate of the organisation of which whoever has a certificate is in a test. */
function ofOrganisation(certificate: Uint8Array, organisationOf: (index: number) => string): Uint8Array {
  const index = Number(new TextDecoder().decode(certificate).replace('org ', ''));
  return utf8(organisationOf(index));
}

describe('policy of a site in masked rounds', () => {
  it('[MSK-71] tiny-cohort: fewer clients, or clients of fewer organisations, than the site demands: it deals no shares', async () => {
    assert.equal(await endOf({}, 4), 'it deals shares');
    assert.equal(await endOf({ quorumMin: 4 }, 4), 'it deals shares');
    assert.match(await endOf({ quorumMin: 5 }, 4), /expected 5 to 100 clients, found 4/);
    const two = (index: number): string => `org ${index % 2}`;
    assert.equal(await endOf({ organisationsMin: 2 }, 4, two), 'it deals shares');
    assert.match(await endOf({ organisationsMin: 3 }, 4, two), /clients of 3 organisations, found 2/);
  });

  it('[MSK-72] tiny-cohort, in groups: what the site demands holds in its group', async () => {
    const own = (index: number): string => `org ${index}`;
    assert.equal(await endOf({ quorumMin: 5 }, 10, own, true), 'it deals shares');
    assert.match(await endOf({ quorumMin: 6 }, 10, own, true), /expected groups of 6 members, found 5/);
    const few = (index: number): string => `org ${index % 2}`;
    assert.match(await endOf({ organisationsMin: 3 }, 10, few, true), /organisations/);
  });
});
