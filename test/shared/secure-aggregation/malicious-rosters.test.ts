/** Rosters that a coordinator makes up: nobody deals shares to them, and everybody does where the check against it is left out. */
import { strict as assert } from 'node:assert';
import { fromHex, utf8 } from '../../../shared/core/bytes.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { clientIdOf, identityFromSeed } from '../../../shared/crypto/identity.ts';
import type * as CertificateModule from '../../../shared/identity/certificate.ts';
import * as certificates from '../../../shared/identity/certificate.ts';
import { addSignature, type Consortium, consortiumHashOf } from '../../../shared/identity/consortium.ts';
import type { Serial } from '../../../shared/identity/formats.ts';
import { decodeCanonical, encodeCanonical } from '../../../shared/protocol/canonical.ts';
import type { JudgeCertificate } from '../../../shared/secure-aggregation/members.ts';
import { advertFormat } from '../../../shared/secure-aggregation/messages.ts';
import { withOwnKey } from '../../../simulations/faults/hostile-coordinator.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { loadModule, loadMutant, type MutantName } from '../../simulation/mutants.ts';
import { type Bend, bending, phasesOf, resigned, sentBy, showAttack, sorted, withRoster } from './attacks.ts';
import { identityOf, runCohort } from './cohort.ts';

/** Every point of low order, and those encodings above 2^255 - 20 that mean one. */
const lowOrderKeys = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(31)}`,
];

/** A key of small order, whose signatures anybody makes: lax verifiers take this one of it for every message. */
const everybodysKey = fromHex(`01${'00'.repeat(31)}`);
const everybodysSignature = fromHex(`01${'00'.repeat(63)}`);

const nowMs = 1_700_000_000_000;
const day = 24 * 3_600_000;
const admin = identityFromSeed(seededEntropy(1).bytes(32), engineCrypto);
const consortium: Consortium = { name: 'Hospitals', threshold: 1, keys: [admin.publicKey] };
const consortiumHash = consortiumHashOf(consortium);
const serialOf = (index: number): Serial => index.toString(16).padStart(32, '0') as Serial;

/** The certificate of a client, of this consortium or of the coordinator's own. */
function certify(index: number, { notAfterMs = nowMs + day, signer = admin } = {}): Uint8Array {
  const { clientId, publicKey } = identityOf(index);
  const validity = { notBeforeMs: nowMs - day, notAfterMs, serial: serialOf(index), epoch: 0 };
  const organisation = `Clinic ${index}`;
  const facts = { consortium: consortiumHash, clientId, publicKey, organisation, ...validity };
  const member = certificates.encodeMember(facts);
  const signatures = addSignature(signer, 'MEMBER', { body: member, signatures: [] });
  return certificates.encodeCertificate({ member, signatures, rotation: null });
}

describe('malicious coordinator: rosters', () => {
  /** Attacks on the roster: whether clients deal shares to it. */
  const rosters: readonly [string, MutantName, Bend][] = [
    [
      'key-substitution',
      'unsigned-roster',
      bending('roster', ({ roster }) => ({ type: 'roster', roster: withOwnKey(roster, 3) })),
    ],
    [
      'key-substitution: of boxes',
      'unsigned-roster',
      bending('roster', ({ roster }) => ({ type: 'roster', roster: withOwnKey(roster, 3, 'boxKey') })),
    ],
    [
      'quorum-forgery: a member of small order, for whom anybody consents,',
      'small-orders',
      withRoster((entries) => {
        const certificate = utf8('org 3');
        const decoded = decodeCanonical(advertFormat, entries[3]!.advert, 'M1');
        assert.ok(decoded.ok);
        const own = { clientId: clientIdOf(everybodysKey), certificateHash: digestOf(certificate) };
        const keys = { boxKey: identityOf(9).publicKey, maskKey: utf8('m'.repeat(32)) };
        const advert = encodeCanonical(advertFormat, { ...decoded.value, ...own, ...keys });
        return sorted([...entries, { advert, signature: everybodysSignature, publicKey: everybodysKey, certificate }]);
      }),
    ],
    [
      'uncertified-sybil',
      'any-certificate',
      withRoster((entries) => {
        const sybil = identityOf(11);
        const certificate = utf8('nobody');
        const made = {
          clientId: sybil.clientId,
          certificateHash: digestOf(certificate),
          boxKey: sybil.publicKey,
          maskKey: utf8('m'.repeat(32)),
        };
        const template = resigned(entries[0]!, {});
        const decoded = decodeCanonical(advertFormat, template.advert, 'M1');
        assert.ok(decoded.ok);
        const advert = encodeCanonical(advertFormat, { ...decoded.value, ...made });
        return sorted([
          ...entries,
          { advert, signature: sybil.sign('ADVERT', advert), publicKey: sybil.publicKey, certificate },
        ]);
      }),
    ],
    [
      'model-inconsistency',
      'any-round',
      withRoster((entries) =>
        entries.map((entry, place) => (place === 1 ? resigned(entry, { roundHash: 'cd'.repeat(32) }) : entry)),
      ),
    ],
  ];
  for (const [name, mutant, bend] of rosters) {
    it(`[${name}] in a roster: nobody deals shares to it`, async () => {
      await showAttack(mutant, (machines) => sentBy(runCohort({ clientCount: 4, machines, bend }), 'shares') > 1);
    });
  }

  /** Certificates of a real consortium on the roster, one of which is not good: whether anybody deals shares to it. */
  const dealtAmong = (judge: JudgeCertificate, odd: Uint8Array): boolean => {
    const outcome = runCohort({
      clientCount: 4,
      certificateOf: (index) => (index === 2 ? odd : certify(index)),
      setting: { judgeCertificate: judge },
      // The coordinator is content with whatever it is shown.
      serverSetting: { judgeCertificate: (certificate) => ({ ok: true, value: digestOf(certificate) }) },
    });
    return sentBy(outcome, 'shares') > 1;
  };
  const memberships: readonly [string, MutantName, Uint8Array][] = [
    ['uncertified-sybil: signed by no key of the consortium,', 'any-signer', certify(2, { signer: identityOf(7) })],
    ['expired-cert', 'any-expiry', certify(2, { notAfterMs: nowMs })],
    ['revoked-member', 'any-revocation', certify(2)],
  ];
  for (const [name, mutant, odd] of memberships) {
    it(`[${name}] on a roster: nobody deals shares to it`, async () => {
      const revoked = name === 'revoked-member' ? [{ serial: serialOf(2), fromMs: nowMs }] : [];
      const revocations = { consortium: consortiumHash, number: 1, issuedMs: nowMs, revoked };
      const judgeOf = ({ judgeCertificates }: typeof CertificateModule) =>
        judgeCertificates(() => ({ consortium, revocations, nowMs }));
      const lax = await loadModule<typeof CertificateModule>(mutant, 'shared/identity/certificate.ts');
      assert.equal(dealtAmong(judgeOf(lax), odd), true, `the attack works without the check (${mutant})`);
      assert.equal(dealtAmong(judgeOf(certificates), odd), false, 'and does not work with it');
    });
  }

  it('[low-order-x25519] keys of low order, signed by their owner, are on no roster that clients deal to', async () => {
    const lax = await loadMutant('any-order-keys');
    for (const encoding of lowOrderKeys) {
      const maskKey = fromHex(encoding);
      const bend = withRoster((entries) =>
        entries.map((entry, place) => (place === 2 ? resigned(entry, { maskKey }) : entry)),
      );
      const outcome = runCohort({ clientCount: 4, bend });
      assert.equal(sentBy(outcome, 'shares'), 0);
      assert.ok(phasesOf(outcome).every((name) => name === 'aborted'));
      // Without the check the roster passes: others than the owner of the key deal shares.
      assert.ok(sentBy(runCohort({ clientCount: 4, bend, machines: lax }), 'shares') > 0);
    }
  });
});
