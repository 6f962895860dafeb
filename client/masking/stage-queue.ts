/** Stages of one attempt as the coordinator sends them, until the client's machine is where it waits for them. Of every kind the first one is kept: repetitions take no memory. */
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';
import { untilAborted } from '../platform/wait.ts';

/** A stage of one kind. */
export type StageOf<Kind extends StageEvent['type']> = Extract<StageEvent, { readonly type: Kind }>;

/** A queue with one reader. */
export interface StageQueue {
  push(event: StageEvent): void;
  /** The next stage of one of these kinds; others that came before it are dropped. @throws the reason of `signal` when it aborts. */
  next<Kind extends StageEvent['type']>(kinds: readonly Kind[], signal: AbortSignal): Promise<StageOf<Kind>>;
}

/** An empty queue. */
export function createStageQueue(): StageQueue {
  let waiting: StageEvent[] = [];
  let arrived = Promise.withResolvers<void>();
  return {
    push: (event) => {
      if (waiting.some(({ type }) => type === event.type)) return;
      waiting.push(event);
      arrived.resolve();
    },
    next: async <Kind extends StageEvent['type']>(kinds: readonly Kind[], signal: AbortSignal) => {
      const isWanted = (event: StageEvent): event is StageOf<Kind> => kinds.some((kind) => kind === event.type);
      for (;;) {
        const found = waiting.find(isWanted);
        waiting = found === undefined ? [] : waiting.slice(waiting.indexOf(found) + 1);
        if (found !== undefined) return found;
        arrived = Promise.withResolvers<void>();
        await untilAborted(arrived.promise, signal);
      }
    },
  };
}
