import { strict as assert } from 'node:assert';
import { createCalls } from '../../../client/transport/calls.ts';
import { createLink } from '../../../client/transport/link.ts';
import type { Answer, Call, Transport } from '../../../client/transport/transport.ts';
import { uploadUpdate } from '../../../client/transport/upload.ts';
import { bytesOf } from '../../../shared/core/bytes.ts';
import { TransportError } from '../../../shared/core/errors.ts';
import { parseDigest, parseSessionId } from '../../../shared/core/ids.ts';
import { chunkBytesMax } from '../../../shared/core/limits.ts';
import type { Result } from '../../../shared/core/result.ts';
import { refuse, succeed } from '../../../shared/core/result.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { createIdentity } from '../../../shared/crypto/identity.ts';
import type { WireValue } from '../../../shared/protocol/codec.ts';
import { decodeMessage, encodeReply } from '../../../shared/protocol/codec.ts';
import { openEnvelope } from '../../../shared/protocol/envelope.ts';
import type { Update } from '../../../shared/protocol/messages.ts';
import { envelopeCalls, plainCalls } from '../../../shared/protocol/messages.ts';
import type { Violation } from '../../../shared/protocol/violations.ts';
import { violation } from '../../../shared/protocol/violations.ts';
import { manualClock, seededEntropy } from '../../coordinator/harness.ts';

const dim = 4 * (chunkBytesMax / 4) + 3;
const chunkCount = 5;
const delta = Float32Array.from({ length: dim }, (_, index) => Math.fround(index / 3));
const round = { roundHash: parseDigest('1'.repeat(64)), sessionId: parseSessionId('5'.repeat(32)) };
const identity = createIdentity(seededEntropy(2));
const signal = new AbortController().signal;
const clock = manualClock();

/** A coordinator that takes one upload, and repeats nothing that it was told before. */
interface Receiver {
  answer(call: Call): Promise<Answer>;
  /** The bytes of a committed upload, null before. */
  stored(): Uint8Array | null;
}

function createReceiver(): Receiver {
  let announced: Update | null = null;
  let isCommitted = false;
  const whole = new Uint8Array(delta.byteLength);
  const missing = new Set(Array.from({ length: chunkCount }, (_, index) => index));
  const act = ({ event, body, attachment }: Call): Result<{ readonly [key: string]: WireValue }, Violation> => {
    if (event === 'update') {
      const facts = {
        clientId: identity.clientId,
        publicKey: identity.publicKey,
        nowMs: clock.nowMs(),
        lastSequence: 0n,
      };
      const opened = openEnvelope<Update>(body, { ...facts, ...envelopeCalls.update });
      assert.ok(opened.ok, 'the announcement is sealed');
      announced = opened.value.body;
      return succeed({ missing: isCommitted ? [] : [...missing] });
    }
    if (announced === null) return refuse(violation('unknown-upload', 'announce first'));
    if (event === 'commit') {
      if (missing.size > 0) return refuse(violation('missing-chunks', `${missing.size} are missing`));
      isCommitted = true;
      return succeed({ receipt: announced.vecRoot });
    }
    const call = decodeMessage(plainCalls['upload-chunk'], body);
    assert.ok(call.ok && attachment !== undefined);
    const { index } = call.value;
    assert.equal(digestOf(attachment), announced.chunkDigests[index]);
    whole.set(attachment, index * chunkBytesMax);
    missing.delete(index);
    return succeed({});
  };
  return {
    answer: async (call) => ({ body: encodeReply(act(call)), attachment: null }),
    stored: () => (isCommitted ? whole : null),
  };
}

/** Uploads over a link whose transport is `call`. */
function start(call: (link: ReturnType<typeof createLink>, call: Call, count: number) => Promise<Answer>) {
  let count = 0;
  const transport: Transport = {
    connect: async () => undefined,
    call: (made) => call(link, made, ++count),
    clockOffsetMs: () => 0,
    measureClock: async () => undefined,
    close: () => undefined,
  };
  const link = createLink(transport);
  link.up();
  let sequence = 0n;
  const ledger = { nextSequence: async () => ++sequence };
  const calls = createCalls({ link, transport, identity, ledger, clock });
  const update = { delta, exampleCount: 7, meanLoss: 0.5, seconds: 1 };
  const progress: number[] = [];
  const onProgress = (bytes: number): void => void progress.push(bytes);
  const outcome = uploadUpdate({ calls, round, update, discloseMetrics: true, signal, onProgress });
  return { outcome, progress, sequences: () => sequence };
}

describe('upload of an update', () => {
  it('[CLI-86] sends what is missing and commits; the coordinator has the very bytes', async () => {
    const receiver = createReceiver();
    const { outcome, progress } = start((_link, call) => receiver.answer(call));
    assert.ok((await outcome).ok);
    assert.deepEqual(receiver.stored(), bytesOf(delta));
    assert.equal(progress.length, chunkCount);
    assert.equal(progress.at(-1), delta.byteLength);
  });

  // Announcement, chunks and commit: the connection is cut once before and once after each of them reached the coordinator.
  for (let cut = 1; cut <= chunkCount + 2; cut++) {
    for (const reached of [false, true]) {
      it(`[CLI-87] chunk-resume: goes on after a cut ${reached ? 'after' : 'before'} call ${cut} reached the coordinator`, async () => {
        const receiver = createReceiver();
        const { outcome, sequences } = start(async (link, call, count) => {
          if (count !== cut) return receiver.answer(call);
          if (reached) await receiver.answer(call);
          link.down();
          queueMicrotask(() => link.up());
          throw new TransportError('no-answer', 'the connection was cut');
        });
        const receipt = await outcome;
        assert.ok(receipt.ok, JSON.stringify(receipt));
        assert.deepEqual(receiver.stored(), bytesOf(delta));
        assert.equal(sequences(), 1n);
      });
    }
  }

  it('[CLI-88] announces again to a coordinator that forgot the upload, and sends every chunk to it', async () => {
    const [first, second] = [createReceiver(), createReceiver()];
    let current = first;
    const { outcome, sequences } = start(async (_link, call, count) => {
      if (count === 4) current = second;
      return current.answer(call);
    });
    assert.ok((await outcome).ok);
    assert.deepEqual(second.stored(), bytesOf(delta));
    assert.equal(sequences(), 2n);
  });

  it('[CLI-89] ends with the refusal of the coordinator', async () => {
    const receiver = createReceiver();
    const { outcome } = start(async (_link, call) => {
      if (call.event !== 'commit') return receiver.answer(call);
      return { body: encodeReply(refuse(violation('late-update', 'too late'))), attachment: null };
    });
    const refused = await outcome;
    assert.equal(!refused.ok && refused.error.code, 'late-update');
  });
});
