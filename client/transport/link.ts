/**
 * Calls that outlive a connection: they wait while there is none and are sent again when an answer got lost. Every call of the protocol
 * is idempotent for that reason.
 */
import { TransportError } from '../../shared/core/errors.ts';

import type { Answer, Call, Transport } from './transport.ts';

/** Times without an answer on a standing connection after which a call is given up: the coordinator hangs or drops it. */
const silentAttemptsMax = 5;

/** A transport with a memory of whether it is connected. */
export interface Link {
  /** Tells waiting calls that the connection stands. */
  up(): void;
  /** Tells calls to wait. */
  down(): void;
  /** Sends until an answer comes. @throws the abort reason, or TransportError when the coordinator stays silent. */
  call(call: Call, signal: AbortSignal): Promise<Answer>;
}

/** Rejects with the abort reason as soon as `signal` is aborted, else settles as `promise` does. */
export function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Wraps `transport`; it starts disconnected. */
export function createLink(transport: Transport): Link {
  let gate = Promise.withResolvers<void>();
  let isUp = false;
  return {
    up: () => {
      isUp = true;
      gate.resolve();
    },
    down: () => {
      if (isUp) gate = Promise.withResolvers<void>();
      isUp = false;
    },
    call: async (call, signal) => {
      for (let silent = 0; ; ) {
        const current = gate;
        await untilAborted(current.promise, signal);
        try {
          return await untilAborted(transport.call(call), signal);
        } catch (thrown) {
          if (signal.aborted || !(thrown instanceof TransportError)) throw thrown;
          if (gate === current && isUp && ++silent >= silentAttemptsMax) throw thrown;
        }
      }
    },
  };
}
