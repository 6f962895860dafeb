import { strict as assert } from 'node:assert';
import { evaluateFormat } from '../../../shared/protocol/bodies.ts';
import { encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { encodeMessage } from '../../../shared/protocol/codec.ts';
import type { Offer } from '../../../shared/protocol/messages.ts';
import {
  openEvaluate,
  openOffer,
  openResult,
  sealEvaluate,
  sealOffer,
  sealResult,
} from '../../../shared/protocol/messages.ts';
import { encodeRoundParams, roundHashOf } from '../../../shared/protocol/round-params.ts';
import { protocolVectors } from '../../vectors/vectors.ts';
import { codeOf, digestOfByte, flipped, identityOf } from './fixtures.ts';

const coordinator = identityOf(9);
const { publicKey } = coordinator;
const blob = (byte: number, size = 10) => ({ digest: digestOfByte(byte), size, root: digestOfByte(byte + 1) });
const offer: Omit<Offer, 'roundHash'> = {
  roundParams: protocolVectors.roundParams.value,
  plan: blob(1),
  base: [
    { name: 'config.json', blob: blob(3) },
    { name: 'model.safetensors', blob: blob(5, 2 ** 40) },
  ],
  adapter: blob(7),
};
const evaluate = { roundHash: digestOfByte(1), modelHash: digestOfByte(2), adapter: blob(3) };
const result = {
  roundHash: digestOfByte(1),
  roundIndex: 3,
  resultHash: digestOfByte(2),
  newModelHash: digestOfByte(3),
  contributorCount: 4,
  totalWeight: 1234.5,
  transcriptHash: digestOfByte(5),
};

describe('messages of the coordinator', () => {
  it('[SGN-1] come back as they were sealed; an offer brings the hash of its round', () => {
    const roundHash = roundHashOf(encodeRoundParams(offer.roundParams));
    assert.equal(roundHash, protocolVectors.roundParams.roundHash);
    assert.deepEqual(openOffer(publicKey, sealOffer(coordinator, offer)), { ok: true, value: { ...offer, roundHash } });
    assert.deepEqual(openEvaluate(publicKey, sealEvaluate(coordinator, evaluate)), { ok: true, value: evaluate });
    assert.deepEqual(openResult(publicKey, sealResult(coordinator, result)), { ok: true, value: result });
  });

  it('[SGN-2] of another key, or with a flipped bit anywhere, are refused', () => {
    assert.equal(codeOf(openOffer(identityOf(8).publicKey, sealOffer(coordinator, offer))), 'wrong-signature');
    const frame = sealResult(coordinator, result);
    for (let bit = 0; bit < frame.length * 8; bit += 3)
      assert.equal(openResult(publicKey, flipped(frame, bit)).ok, false, `bit ${bit}`);
  });

  it('[SGN-3] do not pass as a message of another kind, though the bytes would fit', () => {
    const body = encodeCanonical(evaluateFormat, evaluate);
    for (const type of ['OFFER', 'RESULT', 'ACCEPT', 'EVALUATION']) {
      const frame = encodeMessage({ body, signature: coordinator.sign(type, body) });
      assert.equal(codeOf(openEvaluate(publicKey, frame)), 'wrong-signature', type);
    }
  });

  it('[SGN-4] are judged only after their signature: a signed body of another form is a bad frame', () => {
    const body = new Uint8Array(5);
    assert.equal(
      codeOf(openEvaluate(publicKey, encodeMessage({ body, signature: coordinator.sign('EVALUATE', body) }))),
      'bad-frame',
    );
    assert.equal(codeOf(openEvaluate(publicKey, encodeMessage({ body }))), 'bad-frame');
  });

  it('[SGN-5] an offer with parameters that are not legal is refused', () => {
    const frame = sealOffer(coordinator, { ...offer, roundParams: { ...offer.roundParams, dim: 0 } });
    assert.equal(codeOf(openOffer(publicKey, frame)), 'bad-frame');
  });
});
