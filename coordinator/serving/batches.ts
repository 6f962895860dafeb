/**
 * Requests on their way to the engine. Nothing waits for company: while one call computes, those that come meanwhile make the next one, so that
 * batches grow with the load and a lone request starts at once. First come, first served.
 */

/** What {@link createBatches} needs. */
export interface BatchesOptions<Item, Result> {
  /** Texts of one call, about: a request is never divided. */
  readonly textsMax: number;
  /** Texts that may wait. */
  readonly waitingMax: number;
  /** Answers requests in their order. */
  readonly run: (items: readonly Item[]) => Promise<readonly Result[]>;
}

/** A request that comes. */
export interface Coming<Item> {
  readonly item: Item;
  readonly texts: number;
  /** Whoever asked no longer wants the answer. */
  readonly signal: AbortSignal;
  /** Told once when nothing computes for the request any more, which may be after its promise was rejected. */
  readonly onDone: () => void;
}

/** The requests that wait. */
export interface Batches<Item, Result> {
  /** Whether there is room for one more request with this many texts. */
  hasRoom(texts: number): boolean;
  /** Waits for an answer. @throws what `run` throws for this request; the reason of its signal. */
  add(coming: Coming<Item>): Promise<Result>;
  /** Texts that wait. */
  readonly waiting: number;
}

interface Waiting<Item, Result> extends Coming<Item> {
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
}

/** Nothing waits yet. */
export function createBatches<Item, Result>({
  textsMax,
  waitingMax,
  run,
}: BatchesOptions<Item, Result>): Batches<Item, Result> {
  const queue = new Set<Waiting<Item, Result>>();
  let [waiting, isRunning] = [0, false];
  const remove = (one: Waiting<Item, Result>): boolean => {
    const isThere = queue.delete(one);
    if (isThere) waiting -= one.texts;
    return isThere;
  };
  const next = (): readonly Waiting<Item, Result>[] => {
    const batch: Waiting<Item, Result>[] = [];
    let texts = 0;
    for (const one of queue) {
      if (batch.length > 0 && texts + one.texts > textsMax) break;
      texts += one.texts;
      batch.push(one);
    }
    for (const one of batch) remove(one);
    return batch;
  };
  const runBatch = async (batch: readonly Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await run(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index]!);
    } catch (thrown) {
      // Whoever is to blame fails alone.
      if (batch.length > 1) for (const one of batch) await runBatch([one]);
      else batch[0]!.reject(thrown);
    }
  };
  const drain = async (): Promise<void> => {
    isRunning = true;
    // What arrived in the same turn goes together.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    for (let batch = next(); batch.length > 0; batch = next()) {
      await runBatch(batch);
      for (const { onDone } of batch) onDone();
    }
    isRunning = false;
  };
  return {
    hasRoom: (texts) => waiting + texts <= waitingMax,
    add: async (coming) => {
      const { signal, onDone } = coming;
      const { promise, resolve, reject } = Promise.withResolvers<Result>();
      const one = { ...coming, resolve, reject };
      const leave = (): void => {
        if (remove(one)) onDone();
        reject(signal.reason);
      };
      if (signal.aborted) {
        onDone();
        throw signal.reason;
      }
      queue.add(one);
      waiting += one.texts;
      signal.addEventListener('abort', leave, { once: true });
      if (!isRunning) void drain();
      return promise.finally(() => signal.removeEventListener('abort', leave));
    },
    get waiting() {
      return waiting;
    },
  };
}
