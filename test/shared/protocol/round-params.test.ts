import { strict as assert } from 'node:assert';
import { fromHex, toHex } from '../../../shared/core/bytes.ts';
import type { RoundParams } from '../../../shared/protocol/round-params.ts';
import {
  decodeRoundParams,
  encodeRoundParams,
  roundHashOf,
  unmaskedRound,
} from '../../../shared/protocol/round-params.ts';
import { protocolVectors } from '../../vectors/vectors.ts';

const frozen: RoundParams = protocolVectors.roundParams.value;
const codeOf = (changed: Partial<RoundParams>): string => {
  const decoded = decodeRoundParams(encodeRoundParams({ ...frozen, ...changed }));
  return decoded.ok ? 'accepted' : `${decoded.error.code}: ${decoded.error.detail}`;
};

describe('round parameters', () => {
  it('[RPA-1] kat-roundhash: frozen parameters have the frozen bytes and the frozen hash', () => {
    const encoded = encodeRoundParams(frozen);
    assert.equal(toHex(encoded), protocolVectors.roundParams.bytes);
    assert.equal(roundHashOf(encoded), protocolVectors.roundParams.roundHash);
    assert.deepEqual(decodeRoundParams(fromHex(protocolVectors.roundParams.bytes)), { ok: true, value: frozen });
  });

  it('[RPA-2] an unmasked round is of suite 0, with all fields of masked suites at their fixed values', () => {
    assert.deepEqual(unmaskedRound(frozen), frozen);
  });

  it('[RPA-3] every field is in the hash', () => {
    const hashes = new Set([roundHashOf(encodeRoundParams(frozen))]);
    for (const [name, value] of Object.entries(frozen)) {
      const changed = typeof value === 'number' ? value ^ 1 : `ee${value.slice(2)}`;
      hashes.add(roundHashOf(encodeRoundParams({ ...frozen, [name]: changed })));
    }
    assert.equal(hashes.size, Object.keys(frozen).length + 1);
  });

  it('[RPA-4] refuses another version, illegal ranges, and suite 0 with fields of masked suites', () => {
    assert.match(codeOf({ protocol: 2 }), /^protocol-version/);
    assert.match(codeOf({ dim: 0 }), /^bad-frame.*dim 0/);
    assert.match(codeOf({ dim: 2 ** 26 + 1 }), /^bad-frame.*dim/);
    assert.match(codeOf({ clientCountMin: 6 }), /^bad-frame.*between 6 and 5/);
    assert.match(codeOf({ clientCountMax: 10_001 }), /^bad-frame.*10001/);
    assert.match(codeOf({ weightMax: 0 }), /^bad-frame.*weight/);
    for (const changed of [{ tail: 1 }, { ringBits: 16 }, { clipNorm: 1 }, { profile: 1 }, { agreeMs: 1 }])
      assert.match(codeOf(changed), /^bad-frame.*suite 0 has/, JSON.stringify(changed));
    const masked = { suite: 1, tail: 4, ringBits: 16, coordBound: 1, clipNorm: 1, weightBits: 16, rounding: 1 };
    assert.equal(codeOf(masked), 'accepted');
    for (const changed of [{ ringBits: 8 }, { coordBound: 0 }, { fracBits: 31 }, { mode: 1 }, { weightBits: 8 }])
      assert.match(codeOf({ ...masked, ...changed }), /^bad-frame.*a masked round has/, JSON.stringify(changed));
    assert.equal(codeOf({ ...masked, mode: 2, neighbourCount: 10 }), 'accepted');
    for (const changed of [
      { mode: 2 },
      { neighbourCount: 10 },
      { mode: 2, neighbourCount: 4 },
      { mode: 2, neighbourCount: 65 },
    ])
      assert.match(codeOf({ ...masked, ...changed }), /or groups of 5 to 64 members/, JSON.stringify(changed));
  });
});
