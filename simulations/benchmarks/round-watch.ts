/** Watches the rounds of the benchmark from the coordinator's events and the clients' reports, and takes their times apart. */
import type { CoordinatorProgress } from '../../coordinator/coordinator.ts';
import { assert } from '../../shared/core/assert.ts';
import type { RoundClientReport } from './round-client.ts';

/** Milliseconds of one round. The whole is the sum of its parts. */
export interface RoundParts {
  readonly wholeMs: number;
  /** From the end of the round before until the offers are ready. */
  readonly openMs: number;
  /** Until every client has the adapter and has agreed. */
  readonly fetchMs: number;
  /** Until every update is durable. */
  readonly uploadMs: number;
  /** Until the version is published and every client has the result. */
  readonly publishMs: number;
}

/** Knows when what happened. */
export interface RoundWatch {
  /** Resolves when every client has heard of the end of the federation. */
  readonly finished: Promise<void>;
  readonly happened: (event: CoordinatorProgress) => void;
  heard(report: RoundClientReport): void;
  readonly fail: (detail: string) => void;
  /** `promise`, or a rejection as soon as something failed. */
  unlessFailed<Value>(promise: Promise<Value>): Promise<Value>;
  /** Resolves when every client has the result of the round. */
  roundEnded(roundIndex: number, sent: { readonly heldMs: number; readonly releasedMs: number }): Promise<RoundParts>;
}

/** Watches `clientCount` clients. */
export function createRoundWatch(clientCount: number): RoundWatch {
  const failed = Promise.withResolvers<never>();
  const finished = Promise.withResolvers<void>();
  let missing = clientCount;
  failed.promise.catch(() => undefined);
  const results = new Map<number, number>();
  let [acceptedMs, storedMs, endedMs, previousEndMs] = [0, 0, 0, performance.now()];
  let awaited: { readonly roundIndex: number; readonly resolve: () => void } | null = null;
  const fail = (detail: string): void => failed.reject(new Error(`the benchmark's federation failed: ${detail}`));
  const check = (): void => {
    if (awaited !== null && results.get(awaited.roundIndex) === clientCount) awaited.resolve();
  };
  const unlessFailed = <Value>(promise: Promise<Value>): Promise<Value> => Promise.race([promise, failed.promise]);
  return {
    finished: finished.promise,
    fail,
    unlessFailed,
    happened: (event) => {
      if (event.type === 'client-accepted') acceptedMs = performance.now();
      if (event.type === 'client-finished') storedMs = performance.now();
      if (event.type === 'void' || event.type === 'rejected') fail(`${event.type}: ${event.detail}`);
    },
    heard: (report) => {
      if (report.type === 'failed') fail(report.detail);
      if (report.type === 'finished') {
        missing -= 1;
        if (missing === 0) finished.resolve();
      }
      if (report.type !== 'result') return;
      results.set(report.roundIndex, (results.get(report.roundIndex) ?? 0) + 1);
      endedMs = performance.now();
      check();
    },
    roundEnded: async (roundIndex, { heldMs, releasedMs }) => {
      assert(awaited === null, 'one round is awaited at a time');
      await unlessFailed(
        new Promise<void>((resolve) => {
          awaited = { roundIndex, resolve };
          check();
        }),
      );
      awaited = null;
      const openMs = Math.max(0, heldMs - previousEndMs);
      previousEndMs = endedMs;
      return {
        wholeMs: openMs + endedMs - releasedMs,
        openMs,
        fetchMs: acceptedMs - releasedMs,
        uploadMs: storedMs - acceptedMs,
        publishMs: endedMs - storedMs,
      };
    },
  };
}
