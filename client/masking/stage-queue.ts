/** Stages of one attempt as the coordinator sends them, until the client's machine is where it waits for them. Repetitions are dropped. */
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';
import { untilAborted } from '../platform/wait.ts';

/** A stage of one kind. */
export type StageOf<Kind extends StageEvent['type']> = Extract<StageEvent, { readonly type: Kind }>;

/** A queue with one reader. */
export interface StageQueue {
  push(event: StageEvent): void;
  /** The next stage of this kind; others that came before it are dropped. @throws the reason of `signal` when it aborts. */
  next<Kind extends StageEvent['type']>(kind: Kind, signal: AbortSignal): Promise<StageOf<Kind>>;
}

/** An empty queue. */
export function createStageQueue(): StageQueue {
  let waiting: StageEvent[] = [];
  let arrived = Promise.withResolvers<void>();
  return {
    push: (event) => {
      waiting.push(event);
      arrived.resolve();
    },
    next: async <Kind extends StageEvent['type']>(kind: Kind, signal: AbortSignal) => {
      for (;;) {
        const found = waiting.find((event): event is StageOf<Kind> => event.type === kind);
        waiting = found === undefined ? [] : waiting.slice(waiting.indexOf(found) + 1);
        if (found !== undefined) return found;
        arrived = Promise.withResolvers<void>();
        await untilAborted(arrived.promise, signal);
      }
    },
  };
}
