/**
 * What all clients together may cost: bytes of calls that are being worked on, connections of one address, requests a second. Whoever goes beyond
 * waits or is turned away, and nobody else notices.
 */
import { createBudget } from './budget.ts';

/** Something that can be kept from sending for a while: the socket of a client. */
export interface Pausable {
  pause(): void;
  resume(): void;
}

/** Bytes that calls hold while they are worked on. */
export interface LoadGauge {
  /** Takes `bytes` of a call of `source`; beyond the budget its source is paused until others are done. Returns what gives them back, once. */
  take(bytes: number, source: Pausable): () => void;
  readonly held: () => number;
}

/** A gauge with room for `budgetBytes`. A source is paused after the call that goes beyond, so that one message more of each may come. */
export function createLoadGauge(budgetBytes: number): LoadGauge {
  const paused = new Set<Pausable>();
  let held = 0;
  return {
    held: () => held,
    take: (bytes, source) => {
      held += bytes;
      if (held > budgetBytes && !paused.has(source)) {
        paused.add(source);
        source.pause();
      }
      let isHeld = true;
      return () => {
        if (!isHeld) return;
        isHeld = false;
        held -= bytes;
        if (held > budgetBytes / 2) return;
        for (const waiting of paused) waiting.resume();
        paused.clear();
      };
    },
  };
}

/** Connections by address. */
export interface ConnectionLimit {
  /** Whether one more connection of `address` is allowed; then it counts until {@link release}. */
  admit(address: string): boolean;
  release(address: string): void;
}

/** Whether an address is this machine: a proxy in front, or clients of a simulation. They are not counted by address. */
function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

/** At most `most` connections of one address at once. */
export function createConnectionLimit(most: number): ConnectionLimit {
  const counts = new Map<string, number>();
  return {
    admit: (address) => {
      if (isLoopback(address)) return true;
      const count = counts.get(address) ?? 0;
      if (count >= most) return false;
      counts.set(address, count + 1);
      return true;
    },
    release: (address) => {
      const count = counts.get(address) ?? 0;
      if (count <= 1) counts.delete(address);
      else counts.set(address, count - 1);
    },
  };
}

/** Addresses whose rates are kept; beyond it the one that came first is forgotten. */
const addressesKept = 10_000;

/** Rates of requests: of one address, and of all together. */
export function createRequestLimit(limits: {
  readonly perAddress: { readonly perSecond: number; readonly burst: number };
  readonly overall: { readonly perSecond: number; readonly burst: number };
}): (address: string, nowMs: number) => boolean {
  const overall = createBudget({ ...limits.overall, nowMs: 0 });
  const byAddress = new Map<string, ReturnType<typeof createBudget>>();
  return (address, nowMs) => {
    if (!isLoopback(address)) {
      const own = byAddress.get(address) ?? createBudget({ ...limits.perAddress, nowMs });
      byAddress.set(address, own);
      const oldest = byAddress.keys().next();
      if (byAddress.size > addressesKept && !oldest.done) byAddress.delete(oldest.value);
      if (!own.take(nowMs)) return false;
    }
    return overall.take(nowMs);
  };
}
