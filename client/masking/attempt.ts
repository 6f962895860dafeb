/**
 * The driver of a client's side of one attempt of a masked round: signs, sends, masks and journals what the client's machine wants, and hands
 * it what the coordinator says. However it ends, no secret of the attempt stays in memory.
 */
import { assert } from '../../shared/core/assert.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { type Result, refuse, succeed } from '../../shared/core/result.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';
import { type Violation, violation } from '../../shared/protocol/violations.ts';
import type { MaskToApply } from '../../shared/secure-aggregation/client-state.ts';
import type { GroupedClientEffect } from '../../shared/secure-aggregation/grouped-client.ts';
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import type { MaskWork } from '../../shared/secure-aggregation/mask-work.ts';
import { encodeVector } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { Calls } from '../transport/calls.ts';
import { uploadBytes } from '../transport/upload.ts';
import {
  type AttemptEvent,
  type AttemptMachine,
  type AttemptSetting,
  createAttemptMachine,
} from './attempt-machine.ts';
import type { StageQueue } from './stage-queue.ts';

/** What {@link runAttempt} needs. */
export interface AttemptOptions {
  readonly setting: AttemptSetting;
  readonly suite: MaskedSuite;
  readonly maskWork: MaskWork;
  readonly identity: Identity;
  readonly calls: Pick<Calls, 'sendMasked' | 'uploadChunk' | 'commitUpdate'>;
  readonly stages: StageQueue;
  /** The vector to be masked, made when it is needed; masked in place. */
  readonly vector: () => MaskedVector;
  /** Makes durable that this round number is unmasked; whether it is the first time. */
  readonly journal: (survivorsHash: Digest) => Promise<boolean>;
  readonly signal: AbortSignal;
  /** Called with the bytes that the coordinator has after every chunk. */
  readonly onProgress?: (bytes: number, size: number) => void;
}

/** Takes part in one attempt to its end: null once the shares that open the sum were taken; else why it ended. @throws TransportError when nobody answers. */
export async function runAttempt(options: AttemptOptions): Promise<Result<null, Violation>> {
  const { setting, suite, maskWork, identity, calls, stages, vector, journal, signal, onProgress } = options;
  const { roundHash } = setting;
  let bytes: Uint8Array | null = null;
  const machine = createAttemptMachine(setting);

  const mask = async (masks: readonly MaskToApply[]): Promise<AttemptEvent> => {
    const masked = vector();
    await maskWork.apply(masked, masks, suite);
    bytes = encodeVector(masked);
    const digests = chunkDigests(bytes);
    return { type: 'vector-masked', vecRoot: vectorRoot(chunkBytesMax, digests), chunkDigests: digests };
  };
  /** Performs one effect: the event that answers it, null where nothing does, or the coordinator's refusal. */
  const perform = async (effect: GroupedClientEffect): Promise<Result<AttemptEvent | null, Violation>> => {
    switch (effect.type) {
      case 'sign':
        return succeed({ type: 'signed', signature: identity.sign(effect.kind, effect.body) });
      case 'send': {
        const { kind, body, signature } = effect;
        const send = () => calls.sendMasked(roundHash, { kind, body, signature }, signal);
        if (kind !== 'MASKED') {
          const sent = await send();
          if (!sent.ok) return sent;
          return succeed(kind === 'UNMASK' ? { type: 'result' } : null);
        }
        assert(bytes !== null, 'a vector is masked before it is announced');
        const whole = bytes;
        const progress = (count: number): void => onProgress?.(count, whole.length);
        const stored = await uploadBytes({ calls, roundHash, bytes, announce: send, signal, onProgress: progress });
        bytes = null;
        return stored.ok ? succeed(null) : stored;
      }
      case 'mask-vector':
        return succeed(await mask(effect.masks));
      case 'journal':
        return succeed({ type: 'journaled', isFirst: await journal(effect.survivorsHash) });
      case 'report':
      case 'aborted':
        return refuse(effect.reason);
      default:
        return effect satisfies never;
    }
  };

  try {
    for (let effects = machine.first; ; ) {
      let answer: AttemptEvent | null = null;
      for (const effect of effects) {
        const performed = await perform(effect);
        if (!performed.ok) return performed;
        answer = performed.value ?? answer;
      }
      if (machine.isFinished()) return succeed(null);
      effects = machine.receive(answer ?? (await stages.next(awaitedBy(machine), signal)));
    }
  } finally {
    // Zeroes what is left; an attempt that came to its end has nothing left.
    machine.abandon(violation('stale-round', 'the attempt was given up'));
  }
}

function awaitedBy(machine: AttemptMachine) {
  const awaited = machine.awaits();
  assert(awaited.length > 0, 'a client that waits for nothing does something');
  return awaited;
}
