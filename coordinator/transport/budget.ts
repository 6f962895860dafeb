/** Token bucket per connection: bounds how many messages a client may send, whatever it sends. */

/** Refills `perSecond` tokens a second up to `burst`. */
export interface Budget {
  /** Takes one token; whether there was one. */
  take(nowMs: number): boolean;
}

/** A full bucket. */
export function createBudget(options: {
  readonly perSecond: number;
  readonly burst: number;
  readonly nowMs: number;
}): Budget {
  let tokens = options.burst;
  let filledMs = options.nowMs;
  return {
    take: (nowMs) => {
      tokens = Math.min(options.burst, tokens + (Math.max(0, nowMs - filledMs) / 1000) * options.perSecond);
      filledMs = nowMs;
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
  };
}
