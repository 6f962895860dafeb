/** An engine in a thread of its own: while it computes, the thread of the sockets goes on reading requests and answering those who ask how it is. */
import { extname } from 'node:path';
import { assert } from '../../shared/core/assert.ts';
import { errorMessage, FederationError } from '../../shared/core/errors.ts';
import { errorOf } from '../../shared/core/failure.ts';
import { startThread } from '../../shared/core/thread.node.ts';
import type { AnsweringEngine } from './engine.ts';
import type { EngineAnswer, EngineFacts, EngineSettings, FromEngine, ToEngine } from './engine-messages.ts';

/** An engine elsewhere. */
export interface EngineThread extends AnsweringEngine {
  readonly facts: EngineFacts;
  /** Rejects with FederationError `engine-died` when the thread ends by itself; never resolves before `close`. */
  readonly ended: Promise<void>;
  /** Ends the thread as soon as nothing computes. */
  close(): Promise<void>;
}

type Asked =
  Extract<ToEngine, { readonly call: number }> extends infer Each
    ? Each extends ToEngine
      ? Omit<Each, 'call'>
      : never
    : never;

/** Starts the thread and waits until the base is loaded. @throws what loading throws; FederationError `engine-died`. */
export async function openEngineThread(settings: EngineSettings): Promise<EngineThread> {
  const opened = Promise.withResolvers<EngineFacts>();
  const pending = new Map<number, ReturnType<typeof Promise.withResolvers<EngineAnswer>>>();
  let [calls, death]: [number, FederationError | null] = [0, null];
  const take = (call: number) => {
    const asked = pending.get(call);
    pending.delete(call);
    return asked;
  };
  const thread = startThread<ToEngine, FromEngine>({
    // Unbuilt and built files lie alike; only their ending differs.
    program: new URL(`./engine-program${extname(import.meta.url)}`, import.meta.url),
    name: 'the thread that computes answers',
    data: settings,
    onMessage: (message) => {
      if (message.type === 'opened') opened.resolve(message.facts);
      else if (message.type === 'not-opened') opened.reject(errorOf(message.failure));
      else if (message.type === 'failed') take(message.call)?.reject(errorOf(message.failure));
      else take(message.call)?.resolve(message);
    },
  });
  const died = (why: string): void => {
    death = new FederationError('engine-died', why);
    opened.reject(death);
    for (const { reject } of pending.values()) reject(death);
    pending.clear();
  };
  const ended = thread.ended.then(
    () => died('the thread that computes answers was closed'),
    (thrown: unknown) => {
      died(errorMessage(thrown));
      throw death!;
    },
  );
  ended.catch(() => undefined);
  const ask = async (request: Asked, signal?: AbortSignal): Promise<EngineAnswer> => {
    if (death !== null) throw death;
    const call = calls++;
    const answered = Promise.withResolvers<EngineAnswer>();
    pending.set(call, answered);
    thread.post({ ...request, call } as ToEngine);
    const cancel = (): void => thread.post({ type: 'cancel', call });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await answered.promise;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  };
  try {
    const facts = await opened.promise;
    return {
      facts,
      ended,
      load: async (key, document) => {
        await ask({ type: 'load', key, document });
      },
      drop: (key) => thread.post({ type: 'drop', key }),
      answer: async (asked) => {
        const answer = await ask({ type: 'answer', asked });
        assert(answer.type === 'answered', 'requests are answered');
        return answer.answered;
      },
      write: async (writing, signal) => {
        signal.throwIfAborted();
        // What was cancelled is waited for, because its adapter may be dropped next.
        const answer = await ask({ type: 'write', writing }, signal).catch((thrown: unknown) => {
          signal.throwIfAborted();
          throw thrown;
        });
        assert(answer.type === 'written', 'writing is answered');
        return answer.written;
      },
      close: () => thread.end(),
    };
  } catch (thrown) {
    await thread.end();
    throw thrown;
  }
}
