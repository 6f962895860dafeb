/** Time that passes only when something is due: a whole day of a federation takes as long as its events take to compute. */
import type { Clock } from '../../shared/core/ports.ts';

/** A clock and the list of what is due. */
export interface VirtualTime {
  readonly clock: Clock;
  /** How many actions are due. */
  pending(): number;
  /** Moves to the next action and does it; false when nothing is due. Actions of one moment are done in the order in which they were set. */
  runNext(): boolean;
}

interface Due {
  readonly atMs: number;
  readonly action: () => void;
}

/** Time that begins at 0. */
export function createVirtualTime(): VirtualTime {
  let nowMs = 0;
  /** Latest first: the next one is the last. */
  const due: Due[] = [];
  return {
    clock: {
      nowMs: () => nowMs,
      after: (delayMs, action) => {
        const entry = { atMs: nowMs + Math.max(0, delayMs), action };
        let place = due.length;
        while (place > 0 && due[place - 1]!.atMs <= entry.atMs) place--;
        due.splice(place, 0, entry);
        return () => {
          const at = due.indexOf(entry);
          if (at >= 0) due.splice(at, 1);
        };
      },
    },
    pending: () => due.length,
    runNext: () => {
      const next = due.pop();
      if (next === undefined) return false;
      nowMs = next.atMs;
      next.action();
      return true;
    },
  };
}
