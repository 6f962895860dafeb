/**
 * Calls that outlive a connection: they wait while there is none and are sent again when an answer got lost. Every call of the protocol
 * is idempotent for that reason.
 */
import { TransportError } from '../../shared/core/errors.ts';
import { untilAborted } from '../platform/wait.ts';
import type { Answer, Call, Transport } from './transport.ts';

/** Times without an answer on a standing connection after which a call is given up: the coordinator hangs or drops it. */
const silentAttemptsMax = 5;

/** Bytes of messages, without the framing of the network below: what a call brought along and what was answered. */
export interface Traffic {
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** A transport with a memory of whether it is connected. */
export interface Link {
  /** Tells waiting calls that the connection stands. */
  up(): void;
  /** Tells calls to wait. */
  down(): void;
  /** Resolves when there is no connection, which may be at once. */
  lost(): Promise<void>;
  /** Sends until an answer comes. @throws the abort reason, or TransportError when the coordinator stays silent. */
  call(call: Call, signal: AbortSignal): Promise<Answer>;
  /** What went over the link so far; a call that is sent again counts again. */
  readonly traffic: () => Traffic;
}

/** Wraps `transport`; it starts disconnected. */
export function createLink(transport: Transport): Link {
  let gate = Promise.withResolvers<void>();
  let loss = Promise.withResolvers<void>();
  loss.resolve();
  let isUp = false;
  let [bytesUp, bytesDown] = [0, 0];
  const send = async (call: Call): Promise<Answer> => {
    bytesUp += call.body.length + (call.attachment?.length ?? 0);
    const answer = await transport.call(call);
    bytesDown += answer.body.length + (answer.attachment?.length ?? 0);
    return answer;
  };
  const down = (): void => {
    if (isUp) gate = Promise.withResolvers<void>();
    isUp = false;
    loss.resolve();
  };
  return {
    up: () => {
      if (!isUp) loss = Promise.withResolvers<void>();
      isUp = true;
      gate.resolve();
    },
    down,
    lost: () => loss.promise,
    call: async (call, signal) => {
      for (let silent = 0; ; ) {
        const current = gate;
        await untilAborted(current.promise, signal);
        try {
          return await untilAborted(send(call), signal);
        } catch (thrown) {
          if (signal.aborted || !(thrown instanceof TransportError)) throw thrown;
          // A transport knows that its connection is gone before it says so: that is no silence of the coordinator.
          if (gate === current && thrown.code === 'not-connected') down();
          if (gate === current && isUp && ++silent >= silentAttemptsMax) throw thrown;
        }
      }
    },
    traffic: () => ({ bytesUp, bytesDown }),
  };
}
