import { strict as assert } from 'node:assert';
import { Packr } from 'msgpackr';
import * as z from 'zod/mini';
import { concatBytes, fromHex, utf8 } from '../../../shared/core/bytes.ts';
import { messageBytesMax, messageDepthMax } from '../../../shared/core/limits.ts';
import type { WireValue } from '../../../shared/protocol/codec.ts';
import { decodeMessage, decodeReply, encodeMessage, encodeReply } from '../../../shared/protocol/codec.ts';
import { plainCalls, replies } from '../../../shared/protocol/messages.ts';
import { codeOf, digestOfByte } from './fixtures.ts';
import { decodeMutants } from './mutated-frames.ts';

const anything = z.unknown();
const detailOf = (frame: Uint8Array): string => {
  const decoded = decodeMessage(anything, frame);
  assert.ok(!decoded.ok, 'the frame is refused');
  assert.equal(decoded.error.code, 'bad-frame');
  return decoded.error.detail;
};
const frame = (hex: string): Uint8Array => fromHex(hex.replaceAll(' ', ''));
const nested = (depth: number): Uint8Array => concatBytes(new Uint8Array(depth).fill(0x91), Uint8Array.of(0xc0));

describe('message frames', () => {
  it('[COD-1] carry values of our kinds back and forth', () => {
    const message = {
      nothing: null,
      yes: true,
      whole: 2 ** 40,
      negative: -5,
      fraction: 0.1,
      big: 2n ** 63n,
      words: 'Zürich',
      raw: Uint8Array.of(1, 2, 3),
      list: [1, [2, { three: 3 }]],
    };
    const decoded = decodeMessage(anything, encodeMessage(message));
    assert.ok(decoded.ok);
    const { raw, ...rest } = decoded.value as { raw: Uint8Array };
    assert.deepEqual({ ...rest, raw: Uint8Array.from(raw) }, message);
  });

  it('[COD-2] buffer-aliasing: changing the frame afterwards changes nothing that was decoded', () => {
    const encoded = encodeMessage({ raw: new Uint8Array(64).fill(7) });
    const decoded = decodeMessage(z.strictObject({ raw: z.instanceof(Uint8Array) }), encoded);
    encoded.fill(0);
    assert.ok(decoded.ok && decoded.value.raw.every((byte) => byte === 7));
  });

  it('[COD-3] unknown keys, missing keys and wrong types are refused, naming the place', () => {
    const schema = plainCalls['upload-chunk'];
    const good = { roundHash: digestOfByte(1), index: 3 };
    assert.ok(decodeMessage(schema, encodeMessage(good)).ok);
    const wrong: WireValue[] = [
      { ...good, extra: 1 },
      { roundHash: good.roundHash },
      { ...good, index: -1 },
      { ...good, index: 0.5 },
      { ...good, index: '3' },
      { ...good, index: 2 ** 60 },
      { ...good, roundHash: `${good.roundHash}00` },
      { ...good, roundHash: 'AB'.repeat(32) },
      [good],
      null,
    ];
    for (const message of wrong) assert.equal(codeOf(decodeMessage(schema, encodeMessage(message))), 'bad-frame');
  });

  it('[COD-4] depth bombs, repeated keys, __proto__, extensions and lengths beyond the frame are refused before decoding', () => {
    assert.ok(decodeMessage(anything, nested(messageDepthMax)).ok);
    assert.match(detailOf(nested(messageDepthMax + 1)), /nested deeper than 16/);
    assert.match(detailOf(nested(100_000)), /nested deeper/);
    assert.match(detailOf(frame('82 a1 61 01 a1 61 02')), /repeated or forbidden key/);
    assert.match(detailOf(concatBytes(frame('81 a9'), utf8('__proto__'), frame('80'))), /repeated or forbidden key/);
    assert.match(detailOf(frame('81 01 02')), /a key that is no text/);
    for (const extension of ['d4 70 00', 'd4 72 40', 'd5 74 00 00', 'c7 01 01 00', 'd6 ff 00000000', 'c1'])
      assert.match(detailOf(frame(extension)), /no part of our messages/, extension);
    for (const huge of ['dd 0fffffff', 'df 0fffffff', 'c6 ffffffff', 'db ffffffff', 'dc ffff', '9f', 'ce 00'])
      assert.match(detailOf(frame(huge)), /the frame ends/, huge);
    assert.match(detailOf(frame('c0 c0')), /1 bytes after the end/);
    assert.match(detailOf(new Uint8Array(0)), /the frame ends/);
  });

  it('[COD-5] records of msgpackr are refused', () => {
    const records = new Packr({ useRecords: true }).pack({ a: 1, b: 2 });
    assert.match(detailOf(records), /no part of our messages/);
  });

  it('[COD-6] oversize-payload: a frame above the limit is refused unread', () => {
    assert.ok(decodeMessage(anything, encodeMessage(new Uint8Array(messageBytesMax - 5))).ok);
    assert.match(detailOf(encodeMessage(new Uint8Array(messageBytesMax))), /exceed the 1000000/);
  });

  it('[COD-7] msgpack-fuzz: 6,000 seeded mutants never throw and never change Object.prototype (seed 3)', () => {
    const decodedCount = decodeMutants(6_000, 3);
    assert.ok(decodedCount > 200, `${decodedCount} mutants were decoded`);
  });

  it('[COD-8] answers are a value or a violation, and nothing else', () => {
    const stored = encodeReply({ ok: true, value: { missing: [0, 2] } });
    assert.deepEqual(decodeReply(replies.update, stored), { ok: true, value: { ok: true, missing: [0, 2] } });
    const refused = { code: 'stale-round', detail: 'it is over', roundIndex: 4 } as const;
    assert.deepEqual(decodeReply(replies.update, encodeReply({ ok: false, error: refused })), {
      ok: false,
      error: refused,
    });
    for (const wrong of [
      { ok: true },
      { ok: true, missing: [0], more: 1 },
      { ok: false },
      { ok: false, violation: { code: 'no-such-code', detail: '' } },
      { missing: [] },
    ])
      assert.equal(codeOf(decodeReply(replies.update, encodeMessage(wrong))), 'bad-frame');
  });
});
