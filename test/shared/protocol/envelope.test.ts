import { strict as assert } from 'node:assert';
import { fromHex, toHex } from '../../../shared/core/bytes.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import { signatureInput } from '../../../shared/crypto/signature-input.ts';
import type { Accept, Update } from '../../../shared/protocol/bodies.ts';
import { acceptFormat, declineFormat, updateFormat } from '../../../shared/protocol/bodies.ts';
import { encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { encodeMessage } from '../../../shared/protocol/codec.ts';
import type { OpenOptions, SealOptions } from '../../../shared/protocol/envelope.ts';
import { openEnvelope, sealEnvelope } from '../../../shared/protocol/envelope.ts';
import { protocolVectors } from '../../vectors/vectors.ts';
import { codeOf, digestOfByte, flipped, identityOf, nowMs, sessionId, strangerId } from './fixtures.ts';

const identity = identityOf(1);
const { clientId, publicKey } = identity;
const body: Accept = { roundHash: digestOfByte(0xaa) };
const seal = (changes: Partial<SealOptions<Accept>> = {}): Uint8Array =>
  sealEnvelope({
    identity,
    type: 'ACCEPT',
    sessionId,
    sequence: 5n,
    timeMs: nowMs,
    format: acceptFormat,
    body,
    ...changes,
  });
const open = (frame: Uint8Array, changes: Partial<OpenOptions<Accept>> = {}) =>
  openEnvelope(frame, {
    type: 'ACCEPT',
    format: acceptFormat,
    clientId,
    publicKey,
    nowMs,
    lastSequence: 4n,
    ...changes,
  });
/** Takes an envelope apart and puts it together again with other parts. */
const rebuilt = (frame: Uint8Array, changes: Record<string, Uint8Array>): Uint8Array => {
  const opened = open(frame);
  assert.ok(opened.ok);
  return encodeMessage({ ...opened.value.evidence, ...changes });
};

describe('envelope', () => {
  it('[ENV-1] gives the body back, with what was signed as evidence', () => {
    const opened = open(seal());
    assert.ok(opened.ok);
    assert.deepEqual(opened.value.body, body);
    assert.equal(opened.value.envelope.sequence, 5n);
    assert.equal(opened.value.envelope.sessionId, sessionId);
    assert.deepEqual(opened.value.evidence.signature, identity.sign('ACCEPT', opened.value.evidence.envelope));
  });

  it('[ENV-2] has frozen bytes for a frozen update, and signs the frozen input', () => {
    const { value, bytes } = protocolVectors.update;
    const update: Update = value;
    assert.equal(toHex(encodeCanonical(updateFormat, update)), bytes);
    const signer = identityFromSeed(fromHex(protocolVectors.identity.seed));
    assert.equal(signer.clientId, protocolVectors.identity.clientId);
    const frame = sealEnvelope({
      identity: signer,
      type: 'UPDATE',
      sessionId,
      sequence: 9n,
      timeMs: nowMs,
      format: updateFormat,
      body: update,
    });
    const opened = openEnvelope(frame, {
      type: 'UPDATE',
      format: updateFormat,
      clientId: signer.clientId,
      publicKey: signer.publicKey,
      nowMs,
      lastSequence: 0n,
    });
    assert.ok(opened.ok);
    assert.equal(toHex(opened.value.evidence.envelope), protocolVectors.envelope.bytes);
    assert.equal(opened.value.envelope.bodyHash, protocolVectors.update.bodyHash);
    const { type, body: signed, input } = protocolVectors.signatureInput;
    assert.equal(toHex(signatureInput(type, fromHex(signed))), input);
  });

  it('[ENV-3] bad-frame: what is no frame, has other parts, or other bytes in them', () => {
    assert.equal(codeOf(open(new Uint8Array(0))), 'bad-frame');
    assert.equal(codeOf(open(encodeMessage({ envelope: 'text', body: '', signature: '' }))), 'bad-frame');
    assert.equal(codeOf(open(rebuilt(seal(), { extra: new Uint8Array(1) }))), 'bad-frame');
    assert.equal(codeOf(open(rebuilt(seal(), { envelope: new Uint8Array(10) }))), 'bad-frame');
  });

  it('[ENV-4] protocol-version: another version', () => {
    const opened = open(seal());
    assert.ok(opened.ok);
    const envelope = Uint8Array.from(opened.value.evidence.envelope);
    envelope[0] = 2;
    assert.equal(codeOf(open(rebuilt(seal(), { envelope }))), 'protocol-version');
  });

  it('[ENV-5] bad-envelope: another kind, another body, a body of another round', () => {
    assert.equal(codeOf(open(seal({ type: 'DECLINE' }))), 'bad-envelope');
    const other = encodeCanonical(acceptFormat, { roundHash: digestOfByte(0xbb) });
    assert.equal(codeOf(open(rebuilt(seal(), { body: other }))), 'bad-envelope');
    // Of the same round, but with other words than were signed: nothing but their hash says so.
    const declined = { type: 'DECLINE', format: declineFormat } as const;
    const said = { roundHash: body.roundHash, code: 'policy-refused', reason: 'not here' } as const;
    const frame = sealEnvelope({ identity, sessionId, sequence: 5n, timeMs: nowMs, ...declined, body: said });
    const facts = { clientId, publicKey, nowMs, lastSequence: 4n, ...declined };
    const sealed = openEnvelope(frame, facts);
    assert.ok(sealed.ok);
    const words = encodeCanonical(declineFormat, { ...said, reason: 'not today' });
    const changed = encodeMessage({ ...sealed.value.evidence, body: words });
    assert.equal(codeOf(openEnvelope(changed, facts)), 'bad-envelope');
    // The signer lies about its own round: the hash of the body fits, the rounds do not.
    const lying = {
      ...acceptFormat,
      write: (writer: never) => acceptFormat.write(writer, { roundHash: digestOfByte(0xbb) }),
    };
    assert.equal(codeOf(open(seal({ format: lying }))), 'bad-envelope');
  });

  it('[ENV-6] impersonation: wrong-sender, or wrong-signature when the name is right', () => {
    assert.equal(codeOf(open(seal(), { clientId: strangerId })), 'wrong-sender');
    assert.equal(codeOf(open(seal({ identity: { ...identityOf(2), clientId } }))), 'wrong-signature');
    assert.equal(codeOf(open(seal(), { publicKey: identityOf(2).publicKey })), 'wrong-signature');
  });

  it('[ENV-7] wrong-signature: any flipped bit of the signature or of what it covers', () => {
    const frame = seal();
    const opened = open(frame);
    assert.ok(opened.ok);
    const { envelope, signature } = opened.value.evidence;
    for (let bit = 0; bit < 512; bit += 7)
      assert.equal(codeOf(open(rebuilt(frame, { signature: flipped(signature, bit) }))), 'wrong-signature');
    for (let bit = 0; bit < envelope.length * 8; bit += 5)
      assert.equal(open(rebuilt(frame, { envelope: flipped(envelope, bit) })).ok, false, `bit ${bit}`);
  });

  it('[ENV-8] stale-timestamp: two minutes either way are allowed, one millisecond more is not', () => {
    for (const sign of [-1, 1]) {
      assert.equal(open(seal({ timeMs: nowMs + sign * 120_000 })).ok, true);
      assert.equal(codeOf(open(seal({ timeMs: nowMs + sign * 120_001 }))), 'stale-time');
    }
    assert.equal(codeOf(open(seal({ timeMs: nowMs + 11 }), { windowMs: 10 })), 'stale-time');
  });

  it('[ENV-9] seq-rollback, nonce-reuse: a number that is not above the last one', () => {
    assert.equal(codeOf(open(seal(), { lastSequence: 5n })), 'replayed-sequence');
    assert.equal(codeOf(open(seal(), { lastSequence: 6n })), 'replayed-sequence');
    assert.equal(open(seal({ sequence: 2n ** 64n - 1n }), { lastSequence: 2n ** 64n - 2n }).ok, true);
  });

  it('[ENV-10] a signed body of another format is refused last', () => {
    assert.equal(codeOf(open(seal(), { format: updateFormat as never })), 'bad-frame');
  });
});
