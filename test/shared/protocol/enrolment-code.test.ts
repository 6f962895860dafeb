import { strict as assert } from 'node:assert';
import { concatBytes, toBase64Url } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { sha256 } from '../../../shared/crypto/hash.ts';
import type { EnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { formatEnrolmentCode, parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { federationId, identityOf } from './fixtures.ts';

const code: EnrolmentCode = {
  url: 'https://federation.example.org:8443/path',
  federationId,
  coordinatorKey: identityOf(9).publicKey,
  token: new Uint8Array(32).fill(0x70),
  approval: 'manual',
  consortium: 'ab'.repeat(32) as never,
};
const text = formatEnrolmentCode(code);
const refused = (found: string, pattern: RegExp): void => {
  assert.throws(() => parseEnrolmentCode(found), { code: 'bad-enrolment-code', message: pattern });
};

describe('enrolment code', () => {
  it('[ENC-1] is one line without blanks that gives everything back; space around it is ignored', () => {
    assert.match(text, /^tributary-1\.[A-Za-z0-9_-]+$/);
    assert.deepEqual(parseEnrolmentCode(`\n  ${text}\t`), code);
  });

  it('[ENC-2] that lost, gained or changed a character is recognised', () => {
    refused('', /begin with/);
    refused(text.slice('tributary-1.'.length), /begin with/);
    refused(text.replace('tributary-1.', 'tributary-2.'), /begin with/);
    refused(`${text.slice(0, 40)} ${text.slice(40)}`, /no code has/);
    const random = seededRandom(4, 'codes');
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const start = 'tributary-1.'.length;
    for (let run = 0; run < 300; run++) {
      const place = start + random.integer(text.length - start);
      const digit = digits[random.integer(64)]!;
      const kinds = [
        text.slice(0, place),
        text.slice(0, place) + text.slice(place + 1),
        text.slice(0, place) + digit + text.slice(place),
        text.slice(0, place) + (digit === text[place] ? '' : digit) + text.slice(place + 1),
      ];
      for (const damaged of kinds)
        assert.throws(() => parseEnrolmentCode(damaged), { code: 'bad-enrolment-code' }, `run ${run}: ${damaged}`);
    }
  });

  it('[ENC-3] with a right checksum over wrong content is refused, and no message repeats the code', () => {
    const sealed = (content: Uint8Array): string =>
      `tributary-1.${toBase64Url(concatBytes(content, sha256(content).subarray(0, 4)))}`;
    refused(sealed(new Uint8Array(10)), /enrolment code/);
    refused(formatEnrolmentCode({ ...code, url: 'ftp://x' }), /http\(s\)/);
    refused(formatEnrolmentCode({ ...code, url: 'https://' }), /http\(s\)/);
    refused(formatEnrolmentCode({ ...code, coordinatorKey: new Uint8Array(32) }), /Ed25519/);
    try {
      parseEnrolmentCode(`${text}A`);
    } catch (thrown) {
      assert.ok(!String(thrown).includes(text.slice(20, 40)));
    }
  });
});
