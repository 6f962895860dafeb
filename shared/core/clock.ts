/** The time of the machine. */
import type { Clock } from './ports.ts';

/** Time and timers of the engine, in Node and in browsers. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};
