import { strict as assert } from 'node:assert';
import { toHex } from '../../../shared/core/bytes.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { encodeMessage } from '../../../shared/protocol/codec.ts';
import type { Auth } from '../../../shared/protocol/handshake.ts';
import {
  checkAuth,
  openAuth,
  openChallenge,
  openEnrolment,
  openWelcome,
  sealAuth,
  sealChallenge,
  sealEnrolment,
  sealWelcome,
} from '../../../shared/protocol/handshake.ts';
import { codeOf, digestOfByte, federationId, flippedHex, identityOf, nowMs, strangerId } from './fixtures.ts';

const coordinator = identityOf(9);
const client = identityOf(1);
const bytes = (value: number): Uint8Array => new Uint8Array(32).fill(value);
const [serverNonce, clientNonce, token] = [bytes(0x51), bytes(0xc1), bytes(0x70)];
const pinned = { coordinatorKey: coordinator.publicKey, federationId };
const otherFederation = digestOfByte(0xfd) as never;

describe('challenge', () => {
  const challenge = sealChallenge(coordinator, { serverNonce, serverTimeMs: nowMs, federationId });

  it('[HSK-1] of the pinned coordinator is accepted, through JSON', () => {
    const opened = openChallenge(JSON.parse(JSON.stringify(challenge)), pinned);
    assert.ok(opened.ok);
    assert.deepEqual(opened.value.serverNonce, serverNonce);
    assert.equal(opened.value.serverTimeMs, nowMs);
  });

  it('[HSK-2] of another key, federation, nonce or time is refused', () => {
    const stranger = identityOf(8);
    const foreign = sealChallenge(stranger, { serverNonce, serverTimeMs: nowMs, federationId });
    assert.equal(codeOf(openChallenge(foreign, pinned)), 'wrong-signature');
    assert.equal(
      codeOf(openChallenge({ ...foreign, coordinatorKey: challenge.coordinatorKey }, pinned)),
      'wrong-signature',
    );
    assert.equal(codeOf(openChallenge(challenge, { ...pinned, federationId: otherFederation })), 'wrong-federation');
    const nonce = flippedHex(challenge.serverNonce as string);
    assert.equal(codeOf(openChallenge({ ...challenge, serverNonce: nonce }, pinned)), 'wrong-signature');
    assert.equal(codeOf(openChallenge({ ...challenge, serverTimeMs: nowMs + 1 }, pinned)), 'wrong-signature');
  });

  it('[HSK-3] in another form is a bad frame', () => {
    const wrong: unknown[] = [
      null,
      'text',
      {},
      { ...challenge, more: 1 },
      { ...challenge, serverNonce: 'ab' },
      { ...challenge, signature: (challenge.signature as string).toUpperCase() },
      { ...challenge, serverTimeMs: -1 },
      { ...challenge, serverTimeMs: 0.5 },
    ];
    for (const value of wrong) assert.equal(codeOf(openChallenge(value, pinned)), 'bad-frame');
  });
});

describe('enrolment', () => {
  const enrolment = sealEnrolment(client, { token, name: 'Ward 3', federationId });

  it('[HSK-4] signed by the key that it brings is accepted; only the hash of the token goes on', () => {
    assert.deepEqual(openEnrolment(enrolment, federationId), {
      ok: true,
      value: { tokenHash: digestOf(token), name: 'Ward 3', publicKey: client.publicKey },
    });
  });

  it('[HSK-5] with another key, another token or for another federation is refused', () => {
    const other = toHex(identityOf(2).publicKey);
    assert.equal(codeOf(openEnrolment({ ...enrolment, publicKey: other }, federationId)), 'wrong-signature');
    const token2 = flippedHex(enrolment.token!);
    assert.equal(codeOf(openEnrolment({ ...enrolment, token: token2 }, federationId)), 'wrong-signature');
    assert.equal(codeOf(openEnrolment(enrolment, otherFederation)), 'wrong-signature');
  });

  it('[HSK-6] with a key of small order is refused, whatever it signed', () => {
    const publicKey = `01${'00'.repeat(31)}`;
    const signature = `01${'00'.repeat(63)}`;
    assert.equal(codeOf(openEnrolment({ ...enrolment, publicKey, signature }, federationId)), 'wrong-signature');
  });

  it('[HSK-7] in another form is a bad frame', () => {
    for (const wrong of [{ name: '' }, { name: 'x'.repeat(201) }, { token: 'ab' }, { role: 'admin' }, { name: 5 }])
      assert.equal(codeOf(openEnrolment({ ...enrolment, ...wrong }, federationId)), 'bad-frame');
  });
});

describe('answer to a challenge', () => {
  const sealed = sealAuth(client, {
    serverNonce,
    clientNonce,
    coordinatorKey: coordinator.publicKey,
    timestampMs: nowMs,
  });
  const facts = { publicKey: client.publicKey, coordinatorKey: coordinator.publicKey, nowMs };
  const auth = (changes: object = {}): Auth => {
    const opened = openAuth({ ...sealed, ...changes });
    assert.ok(opened.ok);
    return opened.value;
  };

  it('[HSK-8] of the enrolled key is accepted within two minutes', () => {
    assert.equal(checkAuth(auth(), facts), null);
    assert.equal(checkAuth(auth(), { ...facts, nowMs: nowMs + 120_000 }), null);
    assert.equal(checkAuth(auth(), { ...facts, nowMs: nowMs + 120_001 })?.code, 'stale-time');
    assert.equal(checkAuth(auth(), { ...facts, nowMs: nowMs - 120_001 })?.code, 'stale-time');
  });

  it('[HSK-9] handshake-relay: an answer for one coordinator is none for another', () => {
    assert.equal(checkAuth(auth(), { ...facts, coordinatorKey: identityOf(8).publicKey })?.code, 'wrong-signature');
  });

  it('[HSK-10] of another client, nonce or time is refused', () => {
    assert.equal(checkAuth(auth(), { ...facts, publicKey: identityOf(2).publicKey })?.code, 'wrong-signature');
    for (const change of [
      { clientId: strangerId },
      { serverNonce: flippedHex(sealed.serverNonce as string) },
      { clientNonce: flippedHex(sealed.clientNonce as string) },
      { timestampMs: nowMs + 1 },
      { signature: flippedHex(sealed.signature as string) },
    ])
      assert.equal(checkAuth(auth(change), facts)?.code, 'wrong-signature', JSON.stringify(change));
  });

  it('[HSK-11] of another version, or in another form, is refused before its signature', () => {
    assert.equal(codeOf(openAuth({ ...sealed, protocol: 2 })), 'protocol-version');
    for (const wrong of [undefined, null, [], { ...sealed, more: 1 }, { ...sealed, clientId: 'x' }])
      assert.equal(codeOf(openAuth(wrong)), 'bad-frame');
  });
});

describe('welcome', () => {
  const { clientId } = client;
  const welcome = { serverNonce, clientNonce, federationId, clientId, status: 'running' } as const;
  const expected = { serverNonce, clientNonce, federationId, clientId };

  it('[HSK-12] to this very connection is accepted', () => {
    const frame = sealWelcome(coordinator, welcome);
    assert.deepEqual(openWelcome(coordinator.publicKey, frame, expected), { ok: true, value: welcome });
  });

  it('[HSK-13] of another key, federation or connection is refused', () => {
    const open = (changes: object, key = coordinator.publicKey) =>
      codeOf(openWelcome(key, sealWelcome(coordinator, { ...welcome, ...changes }), expected));
    assert.equal(open({}, identityOf(8).publicKey), 'wrong-signature');
    assert.equal(open({ federationId: otherFederation }), 'wrong-federation');
    for (const changes of [{ serverNonce: bytes(1) }, { clientNonce: bytes(1) }, { clientId: strangerId }])
      assert.equal(open(changes), 'wrong-signature');
    assert.equal(codeOf(openWelcome(coordinator.publicKey, encodeMessage({}), expected)), 'bad-frame');
  });
});
