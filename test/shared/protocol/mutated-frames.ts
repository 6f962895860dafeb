/** `msgpack-fuzz`: mutated frames of messages through the decoder of every frame. */
import { strict as assert } from 'node:assert';
import * as z from 'zod/mini';
import { seededRandom } from '../../../shared/core/random.ts';
import { decodeMessage, encodeMessage, encodeReply } from '../../../shared/protocol/codec.ts';
import { plainCalls, replies } from '../../../shared/protocol/messages.ts';
import { digestOfByte } from './fixtures.ts';

/** Decodes so many mutants: none throws or changes prototypes. How many were read by some schema. */
export function decodeMutants(count: number, seed: number): number {
  const random = seededRandom(seed, 'codec');
  const samples = [
    encodeMessage({ roundHash: digestOfByte(1), index: 3 }),
    encodeMessage({ envelope: new Uint8Array(40), body: new Uint8Array(9), signature: new Uint8Array(64) }),
    encodeMessage({ list: [1, 2.5, -3, 'text', null, true, { constructor: 1, prototype: [] }] }),
    encodeReply({ ok: false, error: { code: 'non-finite', detail: 'x', roundIndex: 2 } }),
  ];
  const names = Reflect.ownKeys(Object.prototype);
  let decodedCount = 0;
  for (let run = 0; run < count; run++) {
    const original = samples[random.integer(samples.length)]!;
    const mutant = Uint8Array.from(original);
    for (let change = 0; change <= random.integer(4); change++)
      mutant[random.integer(mutant.length)] = random.integer(256);
    const cut = random.integer(4) === 0 ? mutant.subarray(0, random.integer(mutant.length + 1)) : mutant;
    for (const schema of [z.unknown(), plainCalls.commit, replies.update]) {
      const decoded = decodeMessage(schema, cut);
      if (decoded.ok) decodedCount += 1;
      else assert.equal(decoded.error.code, 'bad-frame', `seed ${seed}, run ${run}`);
    }
  }
  assert.deepEqual(Reflect.ownKeys(Object.prototype), names);
  return decodedCount;
}
