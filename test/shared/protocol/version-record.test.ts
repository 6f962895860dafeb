import { strict as assert } from 'node:assert';
import { fromHex, toHex } from '../../../shared/core/bytes.ts';
import type { VersionRecord } from '../../../shared/protocol/version-record.ts';
import {
  openVersionRecord,
  resultHashOf,
  sealVersionRecord,
  transcriptHashOf,
} from '../../../shared/protocol/version-record.ts';
import { protocolVectors } from '../../vectors/vectors.ts';
import { codeOf, flipped, identityOf } from './fixtures.ts';

const coordinator = identityOf(9);
const record: VersionRecord = protocolVectors.versionRecord.value;
const sealed = sealVersionRecord(coordinator, record);

describe('version record', () => {
  it('[VRC-1] has frozen bytes and a frozen hash, and comes back as it was', () => {
    assert.equal(toHex(sealed.record), protocolVectors.versionRecord.bytes);
    assert.equal(resultHashOf(fromHex(protocolVectors.versionRecord.bytes)), protocolVectors.versionRecord.resultHash);
    assert.deepEqual(openVersionRecord(coordinator.publicKey, sealed), { ok: true, value: record });
  });

  it('[VRC-2] of another key, with another kind of signature or with any flipped bit is refused', () => {
    assert.equal(codeOf(openVersionRecord(identityOf(8).publicKey, sealed)), 'wrong-signature');
    const signature = coordinator.sign('RESULT', sealed.record);
    assert.equal(codeOf(openVersionRecord(coordinator.publicKey, { ...sealed, signature })), 'wrong-signature');
    for (let bit = 0; bit < sealed.record.length * 8; bit += 11) {
      const changed = { ...sealed, record: flipped(sealed.record, bit) };
      assert.equal(codeOf(openVersionRecord(coordinator.publicKey, changed)), 'wrong-signature');
    }
  });

  it('[VRC-3] signed, but of another form or version, is refused', () => {
    const sign = (bytes: Uint8Array) => ({ record: bytes, signature: coordinator.sign('VERSION', bytes) });
    assert.equal(codeOf(openVersionRecord(coordinator.publicKey, sign(new Uint8Array(3)))), 'bad-frame');
    const newer = Uint8Array.from(sealed.record);
    newer[0] = 2;
    assert.equal(codeOf(openVersionRecord(coordinator.publicKey, sign(newer))), 'protocol-version');
  });

  it('[VRC-4] is never written with clients or codes out of order or twice', () => {
    const [first, second] = record.contributors;
    for (const contributors of [
      [second!, first!],
      [first!, first!],
    ])
      assert.throws(() => sealVersionRecord(coordinator, { ...record, contributors }), { name: 'InvariantError' });
  });

  it('[VRC-5] a transcript has the frozen hash whatever the order in which updates came', () => {
    const { roundHash, updates, transcriptHash } = protocolVectors.transcript;
    assert.equal(transcriptHashOf(roundHash, updates), transcriptHash);
    assert.equal(transcriptHashOf(roundHash, [...(updates as [])].reverse()), transcriptHash);
    assert.notEqual(transcriptHashOf(roundHash, []), transcriptHash);
  });
});
