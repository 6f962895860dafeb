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
import { receiveAsClient, startAttempt } from '../../shared/secure-aggregation/client-machine.ts';
import type {
  ClientEffect,
  ClientEvent,
  ClientPhase,
  ClientSetting,
  ClientStep,
  MaskToApply,
} from '../../shared/secure-aggregation/client-state.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../shared/secure-aggregation/mask.ts';
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';
import { encodeVector } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { Calls } from '../transport/calls.ts';
import { uploadBytes } from '../transport/upload.ts';
import type { StageQueue } from './stage-queue.ts';

/** What {@link runAttempt} needs. */
export interface AttemptOptions {
  readonly setting: ClientSetting;
  readonly suite: MaskedSuite;
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

/** Words of masks that are made at a time before others have a turn: some ten milliseconds. */
const wordsPerTurn = 2 ** 22;

/** Which stage a phase waits for. */
const awaited: Readonly<Partial<Record<ClientPhase['name'], Exclude<StageEvent['type'], 'open'>>>> = {
  advertised: 'roster',
  shared: 'delivery',
  masked: 'survivors',
  agreed: 'quorum',
};

/** Takes part in one attempt to its end: null once the shares that open the sum were taken; else why it ended. @throws TransportError when nobody answers. */
export async function runAttempt(options: AttemptOptions): Promise<Result<null, Violation>> {
  const { setting, suite, identity, calls, stages, vector, journal, signal, onProgress } = options;
  const { roundHash } = setting;
  let bytes: Uint8Array | null = null;
  let step: ClientStep = startAttempt(setting);

  const mask = async (masks: readonly MaskToApply[]): Promise<ClientEvent> => {
    const masked = vector();
    let words = 0;
    for (const { seed, sign } of masks) {
      applyMask(masked, seed, sign, suite);
      wipeSeed(seed);
      words += masked.coordinates.length;
      if (words < wordsPerTurn) continue;
      words = 0;
      await giveTurn();
    }
    bytes = encodeVector(masked);
    const digests = chunkDigests(bytes);
    return { type: 'vector-masked', vecRoot: vectorRoot(chunkBytesMax, digests), chunkDigests: digests };
  };
  /** Performs one effect: the event that answers it, null where nothing does, or the coordinator's refusal. */
  const perform = async (effect: ClientEffect): Promise<Result<ClientEvent | null, Violation>> => {
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
    for (;;) {
      let answer: ClientEvent | null = null;
      for (const effect of step.effects) {
        const performed = await perform(effect);
        if (!performed.ok) return performed;
        answer = performed.value ?? answer;
      }
      const { phase } = step.state;
      if (phase.name === 'finished') return succeed(null);
      if (answer === null) {
        const kind = awaited[phase.name];
        assert(kind !== undefined, `a client that is ${phase.name} does something`);
        answer = await stages.next(kind, signal);
      }
      step = receiveAsClient(step.state, answer);
    }
  } finally {
    // Zeroes what is left; an attempt that came to its end has nothing left.
    receiveAsClient(step.state, { type: 'abandon', reason: violation('stale-round', 'the attempt was given up') });
  }
}

function giveTurn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve);
  });
}
