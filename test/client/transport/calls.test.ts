import { strict as assert } from 'node:assert';
import { createCalls } from '../../../client/transport/calls.ts';
import { createLink } from '../../../client/transport/link.ts';
import type { Call, Transport } from '../../../client/transport/transport.ts';
import { equalBytes } from '../../../shared/core/bytes.ts';
import { TransportError } from '../../../shared/core/errors.ts';
import { parseDigest, parseSessionId } from '../../../shared/core/ids.ts';
import type { Result } from '../../../shared/core/result.ts';
import { refuse, succeed } from '../../../shared/core/result.ts';
import { createIdentity } from '../../../shared/crypto/identity.ts';
import { encodeReply } from '../../../shared/protocol/codec.ts';
import { openEnvelope } from '../../../shared/protocol/envelope.ts';
import { envelopeCalls } from '../../../shared/protocol/messages.ts';
import type { Violation, ViolationCode } from '../../../shared/protocol/violations.ts';
import { violation } from '../../../shared/protocol/violations.ts';
import { manualClock, seededEntropy } from '../../coordinator/harness.ts';

const identity = createIdentity(seededEntropy(2));
const round = { roundHash: parseDigest('1'.repeat(64)), sessionId: parseSessionId('5'.repeat(32)) };
const signal = new AbortController().signal;
const firstOffsetMs = 60_000;

type Outcome = 'lost' | Result<Record<string, never>, Violation>;

/** Calls over a transport whose outcomes are given, one after the other; `measured` are the differences of clocks that it measures later. */
function setting(outcomes: Outcome[], measured: number[] = []) {
  let offsetMs = firstOffsetMs;
  let measureCount = 0;
  const clock = manualClock();
  const made: Call[] = [];
  const transport: Transport = {
    connect: async () => undefined,
    call: async (call) => {
      made.push(call);
      const outcome = outcomes.shift();
      assert.ok(outcome !== undefined, 'one call more than outcomes');
      if (outcome !== 'lost') return { body: encodeReply(outcome), attachment: null };
      link.down();
      queueMicrotask(() => link.up());
      throw new TransportError('no-answer', 'lost');
    },
    clockOffsetMs: () => offsetMs,
    measureClock: async () => {
      measureCount++;
      const next = measured.shift();
      if (next === undefined) throw new TransportError('connection-failed', 'nobody tells the time');
      offsetMs = next;
    },
    close: () => undefined,
  };
  const link = createLink(transport);
  link.up();
  let sequence = 0n;
  const ledger = { nextSequence: async () => ++sequence };
  const open = (index: number, offset = firstOffsetMs) => {
    const nowMs = clock.nowMs() + offset;
    const facts = { clientId: identity.clientId, publicKey: identity.publicKey, nowMs, lastSequence: 0n, windowMs: 0 };
    const opened = openEnvelope(made[index]!.body, { ...facts, ...envelopeCalls.decline });
    assert.ok(opened.ok, 'the envelope opens at the very time of the coordinator');
    return opened.value;
  };
  const calls = createCalls({ link, transport, identity, ledger, clock });
  return { calls, made, open, link, measures: () => measureCount };
}
const refused = (code: ViolationCode) => refuse(violation(code, 'why'));

describe('calls of a client', () => {
  it('[CLI-90] repeats the very frame when an answer got lost', async () => {
    const { calls, made } = setting(['lost', succeed({})]);
    assert.deepEqual(await calls.accept(round, signal), succeed(null));
    assert.equal(made.length, 2);
    assert.ok(equalBytes(made[0]!.body, made[1]!.body));
  });

  it('[CLI-91] seals anew, with a higher number, what came too late or was replayed; not for ever, and nothing else', async () => {
    for (const code of ['stale-time', 'replayed-sequence'] as const) {
      const { calls, open } = setting([refused(code), succeed({})]);
      assert.deepEqual(await calls.decline(round, 'policy-refused', 'no', signal), succeed(null));
      assert.deepEqual([open(0).envelope.sequence, open(1).envelope.sequence], [1n, 2n]);
    }
    const { calls, made } = setting([1, 2, 3].map(() => refused('replayed-sequence')));
    assert.equal((await calls.accept(round, signal)).ok, false);
    assert.equal(made.length, 3);
    const other = setting([refused('stale-round')]);
    assert.equal((await other.calls.accept(round, signal)).ok, false);
  });

  it('[CLI-121] measures the clocks again where a time was refused, and seals with what it finds; where nobody tells it, as before', async () => {
    const set = setting([refused('stale-time'), refused('stale-time'), succeed({})], [-600_000, 7]);
    assert.deepEqual(await set.calls.decline(round, 'policy-refused', 'no', signal), succeed(null));
    for (const [index, offset] of [firstOffsetMs, -600_000, 7].entries()) set.open(index, offset);
    const alone = setting([refused('stale-time'), succeed({})]);
    assert.deepEqual(await alone.calls.decline(round, 'policy-refused', 'no', signal), succeed(null));
    alone.open(1);
    const replayed = setting([refused('replayed-sequence'), succeed({})]);
    await replayed.calls.decline(round, 'policy-refused', 'no', signal);
    assert.deepEqual([set.measures(), alone.measures(), replayed.measures()], [2, 1, 0]);
  });

  it('[CLI-92] cuts a reason to what its field holds, in well-formed text', async () => {
    const { calls, open } = setting([succeed({})]);
    await calls.decline(round, 'training-failed', `\ud800${'\u{20ac}'.repeat(5000)}`, signal);
    const { reason } = open(0).body;
    assert.ok(reason.isWellFormed() && reason.length > 1000 && new TextEncoder().encode(reason).length <= 4000);
    assert.equal(open(0).envelope.sessionId, round.sessionId);
  });

  it('[CLI-93] an answer that is none, or a chunk without bytes, is a violation', async () => {
    const { calls } = setting([succeed({}), succeed({})]);
    const chunk = await calls.fetchChunk(round.roundHash, 0, signal);
    assert.equal(!chunk.ok && chunk.error.code, 'bad-frame');
    // No manifest in it.
    const manifest = await calls.fetchManifest(round.roundHash, signal);
    assert.equal(!manifest.ok && manifest.error.code, 'bad-frame');
  });

  it('[CLI-94] counts the bytes of both directions', async () => {
    const { calls, made, link } = setting([succeed({})]);
    await calls.uploadChunk(round.roundHash, 0, new Uint8Array(100), signal);
    const { bytesUp, bytesDown } = link.traffic();
    assert.deepEqual([bytesUp, bytesDown], [made[0]!.body.length + 100, encodeReply(succeed({})).length]);
  });
});
