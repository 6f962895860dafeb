import { strict as assert } from 'node:assert';
import { toHex } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { clientIdOf, type Identity, identityFromSeed } from '../../../shared/crypto/identity.ts';
import type { Certificate, Member } from '../../../shared/identity/certificate.ts';
import {
  certificateLifetimeMsMax,
  encodeCertificate,
  encodeMember,
  judgeCertificates,
  judgeMember,
  replacedClient,
  rotationOverlapMs,
  signRotation,
} from '../../../shared/identity/certificate.ts';
import {
  addSignature,
  type Consortium,
  consortiumFingerprint,
  consortiumHashOf,
  decodeConsortium,
  encodeConsortium,
  encodeCountersigned,
} from '../../../shared/identity/consortium.ts';
import type { Serial } from '../../../shared/identity/formats.ts';
import { encodeApproval, judgeApproval } from '../../../shared/identity/plan-approval.ts';
import {
  encodeRevocations,
  judgeAge,
  openRevocations,
  type Revocations,
} from '../../../shared/identity/revocations.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

const identityOf = (seed: number): Identity => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto);
const admins = [1, 2, 3].map(identityOf);
const consortium: Consortium = {
  name: 'Hospitals',
  threshold: 2,
  keys: admins.map(({ publicKey }) => publicKey).sort((left, right) => (toHex(left) < toHex(right) ? -1 : 1)),
};
const hash = consortiumHashOf(consortium);
const day = 24 * 3_600_000;
const nowMs = 1_700_000_000_000;
const site = identityOf(9);
const serialOf = (digits: string) => digits.repeat(16) as Serial;

const memberOf = (changes: Partial<Member> = {}): Member => ({
  consortium: hash,
  clientId: site.clientId,
  publicKey: site.publicKey,
  organisation: 'Clinic',
  notBeforeMs: nowMs - day,
  notAfterMs: nowMs + 30 * day,
  serial: serialOf('a1'),
  epoch: 0,
  ...changes,
});
function certify(
  member: Member,
  signers: readonly Identity[] = admins.slice(0, 2),
  rotation: Certificate['rotation'] = null,
) {
  const body = encodeMember(member);
  const signatures = signers.reduce<Certificate['signatures']>(
    (all, signer) => addSignature(signer, 'MEMBER', { body, signatures: all }),
    [],
  );
  return encodeCertificate({ member: body, signatures, rotation });
}
const revocationsOf = (changes: Partial<Revocations> = {}): Revocations => ({
  consortium: hash,
  number: 4,
  issuedMs: nowMs,
  revoked: [],
  ...changes,
});
const refusal = (certificate: Uint8Array, revocations: Revocations | null = null, atMs = nowMs): string => {
  const judged = judgeMember(certificate, { consortium, revocations, nowMs: atMs });
  return judged.ok ? 'good' : `${judged.error.code}: ${judged.error.detail}`;
};

describe('certificates of membership', () => {
  it('[CRT-1] two of three keys make a key a member of its organisation; one, a stranger or one key twice do not', () => {
    const judge = judgeCertificates(() => ({ consortium, revocations: null, nowMs }));
    const member = memberOf();
    assert.deepEqual(judge(certify(member), site.publicKey), { ok: true, value: 'Clinic' });
    assert.deepEqual(judge(certify(member, admins), site.publicKey), { ok: true, value: 'Clinic' });
    assert.match(refusal(certify(member, [admins[0]!])), /1 of the consortium's keys .* 2 must/);
    assert.match(refusal(certify(member, [admins[0]!, admins[0]!])), /1 of the consortium's keys/);
    assert.match(refusal(certify(member, [admins[0]!, identityOf(8)])), /1 of the consortium's keys/);
    assert.equal(judge(certify(member), identityOf(8).publicKey).ok, false);
  });

  it('[CRT-2] expired-cert: good from its first to its last millisecond, for at most a year', () => {
    const certificate = certify(memberOf());
    assert.match(refusal(certificate, null, nowMs - day - 1), /not valid yet/);
    assert.equal(refusal(certificate, null, nowMs - day), 'good');
    assert.equal(refusal(certificate, null, nowMs + 30 * day - 1), 'good');
    assert.match(refusal(certificate, null, nowMs + 30 * day), /expired/);
    const notAfterMs = nowMs - day + certificateLifetimeMsMax;
    assert.equal(refusal(certify(memberOf({ notAfterMs }))), 'good');
    assert.match(refusal(certify(memberOf({ notAfterMs: notAfterMs + 1 }))), /more than a year/);
  });

  it('[CRT-3] uncertified-sybil: every changed byte, another consortium and a foreign client id are refused', () => {
    const certificate = certify(memberOf());
    for (let place = 0; place < certificate.length; place += 3) {
      const changed = Uint8Array.from(certificate);
      changed[place]! ^= 4;
      assert.notEqual(refusal(changed), 'good', `byte ${place}`);
    }
    assert.match(refusal(certify(memberOf({ consortium: 'ab'.repeat(32) as Digest }))), /another consortium/);
    assert.match(refusal(certify(memberOf({ clientId: clientIdOf(identityOf(8).publicKey) }))), /client id/);
    assert.match(refusal(certify(memberOf({ publicKey: new Uint8Array(32) }))), /no sound/);
  });

  it('[CRT-4] revoked-member: a certificate on the list is refused from its time on', () => {
    const certificate = certify(memberOf());
    const revocations = revocationsOf({ revoked: [{ serial: serialOf('a1'), fromMs: nowMs + 5 }] });
    assert.equal(refusal(certificate, revocations, nowMs + 4), 'good');
    assert.match(refusal(certificate, revocations, nowMs + 5), /revoked/);
    assert.equal(refusal(certify(memberOf({ serial: serialOf('a2') })), revocations, nowMs + 5), 'good');
  });

  it('[CRT-5] a new key needs its old key and one key of the consortium; both are good for a day', () => {
    const previous = certify(memberOf());
    const next = identityOf(10);
    const member = memberOf({
      clientId: next.clientId,
      publicKey: next.publicKey,
      epoch: 1,
      serial: serialOf('b1'),
      notBeforeMs: nowMs,
    });
    const rotation = { previous, signature: signRotation(site, encodeMember(member)) };
    const rotated = certify(member, [admins[2]!], rotation);
    const revocations = revocationsOf({ revoked: [{ serial: serialOf('a1'), fromMs: nowMs + rotationOverlapMs }] });
    assert.equal(refusal(rotated), 'good');
    for (const [atMs, both] of [
      [nowMs + rotationOverlapMs - 1, true],
      [nowMs + rotationOverlapMs, false],
    ] as const) {
      assert.equal(refusal(rotated, revocations, atMs), 'good');
      assert.equal(refusal(previous, revocations, atMs) === 'good', both);
    }
    assert.match(refusal(certify(member, [], rotation)), /no key of the consortium/);
    assert.match(refusal(certify(member, [admins[2]!])), /1 of the consortium's keys/);
    const forged = { previous, signature: signRotation(next, encodeMember(member)) };
    assert.match(refusal(certify(member, [admins[2]!], forged)), /did not sign/);
    const stolen = revocationsOf({ revoked: [{ serial: serialOf('a1'), fromMs: nowMs - 1 }] });
    assert.match(refusal(rotated, stolen), /revoked before the rotation/);
    const skipped = memberOf({ ...member, epoch: 2 });
    const skipping = { previous, signature: signRotation(site, encodeMember(skipped)) };
    assert.match(refusal(certify(skipped, [admins[2]!], skipping)), /does not go on/);
    const elsewhere = memberOf({ ...member, organisation: 'Other' });
    const moving = { previous, signature: signRotation(site, encodeMember(elsewhere)) };
    assert.match(refusal(certify(elsewhere, [admins[2]!], moving)), /does not go on/);
    for (const notBeforeMs of [nowMs - 2 * day, nowMs + 30 * day]) {
      const untimely = memberOf({ ...member, notBeforeMs, notAfterMs: nowMs + 60 * day });
      const late = { previous, signature: signRotation(site, encodeMember(untimely)) };
      assert.match(
        refusal(certify(untimely, [admins[2]!], late), null, nowMs + 31 * day),
        /was not valid when it was replaced/,
        'an expired key replaces itself by none',
      );
    }
    const unreadable = { ...rotation, previous: Uint8Array.of(1, 2, 3) };
    assert.match(refusal(certify(member, [admins[2]!], unreadable)), /^bad-frame/);
  });

  it('[CRT-6] a list of revocations is signed by the quorum, never goes back, and is good for a day', () => {
    const list = revocationsOf({ revoked: [{ serial: serialOf('a1'), fromMs: 1 }] });
    const body = encodeRevocations(list);
    const sealed = (count: number): Uint8Array => {
      let signatures: Certificate['signatures'] = [];
      for (const signer of admins.slice(0, count))
        signatures = addSignature(signer, 'REVOCATIONS', { body, signatures });
      return encodeCountersigned({ body, signatures });
    };
    assert.deepEqual(openRevocations(consortium, sealed(2)), { ok: true, value: list });
    assert.equal(openRevocations(consortium, sealed(1)).ok, false);
    assert.equal(openRevocations({ ...consortium, name: 'Other' }, sealed(2)).ok, false);
    assert.equal(judgeAge(list, { nowMs: nowMs + day, numberMin: 4 }), null);
    assert.equal(judgeAge(list, { nowMs: nowMs + day + 1, numberMin: 4 })?.code, 'stale-revocations');
    assert.equal(judgeAge(list, { nowMs: nowMs - 3_600_000, numberMin: 4 })?.code, 'stale-revocations');
    assert.equal(judgeAge(list, { nowMs, numberMin: 5 })?.code, 'stale-revocations');
  });

  it('[CRT-7] the consortium approves a plan by its hash', () => {
    const planHash = 'cd'.repeat(32) as Digest;
    const body = encodeApproval(consortium, planHash);
    const one = addSignature(admins[0]!, 'PLAN', { body, signatures: [] });
    const two = addSignature(admins[1]!, 'PLAN', { body, signatures: one });
    assert.equal(judgeApproval(consortium, planHash, encodeCountersigned({ body, signatures: two })), null);
    assert.equal(
      judgeApproval(consortium, planHash, encodeCountersigned({ body, signatures: one }))?.code,
      'bad-certificate',
    );
    const other = 'ce'.repeat(32) as Digest;
    assert.equal(
      judgeApproval(consortium, other, encodeCountersigned({ body, signatures: two }))?.code,
      'bad-certificate',
    );
  });

  it('[CRT-8] a consortium is its keys and threshold; impossible ones are refused', () => {
    assert.deepEqual(decodeConsortium(encodeConsortium(consortium)), { ok: true, value: consortium });
    assert.equal(decodeConsortium(encodeConsortium({ ...consortium, threshold: 4 })).ok, false);
    assert.equal(decodeConsortium(encodeConsortium({ ...consortium, threshold: 0 })).ok, false);
    assert.notEqual(consortiumHashOf({ ...consortium, threshold: 1 }), hash);
    assert.match(consortiumFingerprint(consortium), /^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$/);
  });

  it('[CRT-9] a key replaced the one that signed so, whatever client the certificate beside it names', () => {
    const [thief, victim] = [identityOf(8), identityOf(9)];
    const of = (replaced: Partial<Member>, signer: Identity) => {
      const { clientId, publicKey } = thief;
      const member = memberOf({ clientId, publicKey, epoch: 1 });
      const previous = encodeCertificate({ member: encodeMember(memberOf(replaced)), signatures: [], rotation: null });
      return certify(member, admins, { previous, signature: signRotation(signer, encodeMember(member)) });
    };
    const { clientId, publicKey } = victim;
    assert.equal(replacedClient(of({ clientId, publicKey }, victim)), clientId);
    assert.equal(replacedClient(of({ clientId, publicKey }, thief)), null);
    // Good for the coordinator, which a quorum told so; of the victim it says nothing.
    const forged = of({ clientId, publicKey: thief.publicKey }, thief);
    assert.equal(refusal(forged), 'good');
    assert.equal(replacedClient(forged), thief.clientId);
    assert.equal(replacedClient(certify(memberOf())), null);
    assert.equal(replacedClient(Uint8Array.of(1, 2)), null);
  });
});
