/**
 * Work of a round as a queue of one: a task begins when the one before it has settled, so that nothing computes on a base that another task
 * loads or frees. What is abandoned hears of it through its signal.
 */

/** Tasks of one session. */
export interface Tasks {
  /** Runs `task` after those before it, unless it is abandoned until then. `onFailure` hears what it throws, unless it was abandoned. */
  start(task: (signal: AbortSignal) => Promise<void>, onFailure: (thrown: unknown) => void): void;
  /** Aborts the signals of all tasks so far. */
  abandon(reason: Error): void;
  /** Resolves when no task is running; rejects with what `onFailure` threw. */
  settled(): Promise<void>;
}

/** No task yet. */
export function createTasks(): Tasks {
  let underWay = new AbortController();
  let last: Promise<void> = Promise.resolve();
  return {
    start: (task, onFailure) => {
      const { signal } = underWay;
      const run = async (): Promise<void> => {
        try {
          signal.throwIfAborted();
          await task(signal);
        } catch (thrown) {
          if (!signal.aborted) onFailure(thrown);
        }
      };
      last = last.then(run);
      // Whoever waits for the end hears of it.
      last.catch(() => undefined);
    },
    abandon: (reason) => {
      underWay.abort(reason);
      underWay = new AbortController();
    },
    settled: () => last,
  };
}
