import { strict as assert } from 'node:assert';
import { signatureTypes } from '../../../shared/crypto/signature-input.ts';
import { encodeMessage } from '../../../shared/protocol/codec.ts';
import { callNames, coordinatorEvents, envelopeCalls, plainCalls, replies } from '../../../shared/protocol/messages.ts';
import {
  describe as explain,
  violation,
  violationCodes,
  violationMeanings,
} from '../../../shared/protocol/violations.ts';

describe('violations', () => {
  it('[VIO-1] are kebab-case codes with a meaning in words', () => {
    for (const code of violationCodes) {
      assert.match(code, /^[a-z]+(-[a-z]+)*$/);
      assert.match(violationMeanings[code], /^[a-z].* .*[^.]$/);
    }
  });

  it('[VIO-2] an overlong detail is cut, so that an answer always fits into a message', () => {
    const long = violation('bad-frame', 'x'.repeat(5000), 3);
    assert.equal(long.detail.length, 1000);
    assert.ok(encodeMessage({ ...long }).length < 1100);
  });

  it('[VIO-3] are explained in one sentence with the round where there is one', () => {
    assert.equal(
      explain(violation('late-update', 'it came at noon', 12)),
      'the update arrived after the deadline (late-update): it came at noon; round 12',
    );
    assert.ok(!explain(violation('late-update', 'x')).includes('round'));
  });
});

describe('names of messages', () => {
  it('[MSG-1] every call has an answer, and no call is both plain and in an envelope', () => {
    assert.deepEqual([...callNames].sort(), Object.keys(replies).sort());
    assert.equal(new Set(callNames).size, Object.keys(plainCalls).length + Object.keys(envelopeCalls).length);
    assert.deepEqual(
      [...coordinatorEvents].filter((name) => (callNames as readonly string[]).includes(name)),
      [],
    );
  });

  it('[MSG-2] every kind of envelope is a domain of signatures of its own', () => {
    const types = Object.values(envelopeCalls).map(({ type }) => type);
    assert.equal(new Set(types).size, types.length);
    for (const type of types) assert.ok(signatureTypes.includes(type));
    assert.equal(new Set(signatureTypes).size, signatureTypes.length);
  });
});
