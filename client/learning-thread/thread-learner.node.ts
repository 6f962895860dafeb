/**
 * A learner in a thread of its own, so that the thread of the socket answers heartbeats and downloads while a step is computed. This side holds
 * no engine and no data. When the thread dies, what was asked of it fails with `learner-died`, and the next plan that is prepared starts another.
 */
import { extname } from 'node:path';
import type { Transferable } from 'node:worker_threads';
import { assert } from '../../shared/core/assert.ts';
import { errorMessage, FederationError } from '../../shared/core/errors.ts';
import { errorOf } from '../../shared/core/failure.ts';
import { startThread, type Thread } from '../../shared/core/thread.node.ts';
import { type ByteSource, readRange } from '../../shared/model/byte-source.ts';
import type { BaseFiles } from '../../shared/model/load.ts';
import type { Learner, LearningProgress, PreparedLearning } from '../learner.ts';
import type { Answer, FileContent, FromLearning, LearningNote, PreparedFacts, ToLearning } from './messages.ts';

/** What {@link openThreadLearner} needs. */
export interface ThreadLearnerOptions<Data> {
  /** Module that exports `createLearner`, a {@link LearnerMaker}; it is loaded in the thread alone. */
  readonly module: URL;
  /** What it makes the learner from; copied. */
  readonly data: Data;
  readonly onNote?: (note: LearningNote) => void;
}

/** Makes a learner in its thread. */
export type LearnerMaker<Data> = (data: Data, tell: (note: LearningNote) => void) => Promise<Learner>;

/** A learner elsewhere. */
export interface ThreadLearner extends Learner {
  /** Ends the thread. A process that is done need not wait for it. */
  close(): Promise<void>;
}

/** What the program of the thread is given. */
export interface LearningBeginning {
  readonly module: string;
  readonly data: unknown;
}

/** A call under way. */
interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (reason: Error) => void;
  readonly onProgress?: ((progress: LearningProgress) => void) | undefined;
}

/** A call without its number. */
type Asked =
  Extract<ToLearning, { readonly call: number }> extends infer Each
    ? Each extends ToLearning
      ? Omit<Each, 'call'>
      : never
    : never;

/** A thread that is open, and how to ask it. */
interface Connection {
  readonly thread: Thread<ToLearning>;
  readonly exampleCount: number;
  readonly isDead: () => boolean;
  ask(
    request: Asked,
    options?: {
      readonly transfer?: readonly Transferable[];
      readonly signal?: AbortSignal;
      readonly onProgress?: (progress: LearningProgress) => void;
    },
  ): Promise<Answer>;
}

/** Starts the thread and waits until the learner is there. @throws what `createLearner` throws; FederationError `learner-died`. */
export async function openThreadLearner<Data>(options: ThreadLearnerOptions<Data>): Promise<ThreadLearner> {
  let connection = await connect(options);
  let isClosed = false;
  return {
    get exampleCount() {
      return connection.exampleCount;
    },
    prepare: async (plan, baseFiles) => {
      assert(!isClosed, 'a learner that was closed prepares nothing');
      if (connection.isDead()) connection = await connect(options);
      const { files, transfer } = contentOf(baseFiles);
      const answer = await connection.ask({ type: 'prepare', plan, files }, { transfer });
      assert(answer.type === 'prepared', 'preparing is answered');
      return preparedIn(connection, answer.facts);
    },
    close: async () => {
      isClosed = true;
      await connection.thread.end();
    },
  };
}

async function connect<Data>({ module, data, onNote }: ThreadLearnerOptions<Data>): Promise<Connection> {
  const opened = Promise.withResolvers<number>();
  const pending = new Map<number, Pending>();
  let [calls, isDead] = [0, false];
  const answerWith = (call: number): Pending | undefined => {
    const asked = pending.get(call);
    pending.delete(call);
    // Nobody waits: the process may end.
    if (pending.size === 0) thread.hold(false);
    return asked;
  };
  const thread = startThread<ToLearning, FromLearning>({
    // Unbuilt and built files lie alike; only their ending differs.
    program: new URL(`./program.node${extname(import.meta.url)}`, import.meta.url),
    name: 'the thread of learning',
    data: { module: module.href, data } satisfies LearningBeginning,
    onMessage: (message) => {
      switch (message.type) {
        case 'opened':
          return opened.resolve(message.exampleCount);
        case 'not-opened':
          return opened.reject(errorOf(message.failure));
        case 'told':
          return onNote?.(message.note);
        case 'progress':
          return pending.get(message.call)?.onProgress?.(message.progress);
        case 'failed':
          return answerWith(message.call)?.reject(errorOf(message.failure));
        default:
          return answerWith(message.call)?.resolve(message);
      }
    },
  });
  const died = (why: string): void => {
    isDead = true;
    const sentence = `${why}; what it was asked for is lost, and it is started again for the next plan`;
    const reason = new FederationError('learner-died', sentence);
    opened.reject(reason);
    for (const { reject } of pending.values()) reject(reason);
    pending.clear();
  };
  thread.ended.then(
    () => died('the thread of learning was closed'),
    (thrown: unknown) => died(errorMessage(thrown)),
  );
  try {
    const exampleCount = await opened.promise;
    thread.hold(false);
    return { thread, exampleCount, isDead: () => isDead, ask };
  } catch (thrown) {
    await thread.end();
    throw thrown;
  }

  function ask(request: Asked, { transfer = [], signal, onProgress }: Parameters<Connection['ask']>[1] = {}) {
    signal?.throwIfAborted();
    const call = calls++;
    const answered = Promise.withResolvers<Answer>();
    pending.set(call, { ...answered, onProgress });
    if (isDead) died('the thread of learning is gone');
    thread.hold(true);
    thread.post({ ...request, call } as ToLearning, transfer);
    const cancel = (): void => thread.post({ type: 'cancel', call });
    signal?.addEventListener('abort', cancel, { once: true });
    // What was cancelled is waited for, because what it computes on may be freed next.
    return answered.promise
      .catch((thrown: unknown) => {
        signal?.throwIfAborted();
        throw thrown;
      })
      .finally(() => signal?.removeEventListener('abort', cancel));
  }
}

/** What was prepared in the thread, from this side. */
function preparedIn({ thread, isDead, ask }: Connection, facts: PreparedFacts): PreparedLearning {
  return {
    ...facts,
    isLost: isDead,
    initialise: async (seed) => {
      const answer = await ask({ type: 'initialise', seed });
      assert(answer.type === 'initialised', 'start values are answered');
      return answer.values;
    },
    train: async ({ start, frozen, roundIndex, charges = [], onProgress, signal }) => {
      // What is lent stays here; the copy moves.
      const own = start.slice();
      const company = frozen?.slice() ?? null;
      const transfer = [own.buffer, ...(company === null ? [] : [company.buffer])];
      const answer = await ask(
        { type: 'train', start: own, frozen: company, roundIndex, charges },
        { transfer, signal, onProgress },
      );
      assert(answer.type === 'trained', 'training is answered');
      return answer.update;
    },
    evaluate: async (parameters, signal) => {
      const own = parameters.slice();
      const answer = await ask({ type: 'evaluate', parameters: own }, { transfer: [own.buffer], signal });
      assert(answer.type === 'evaluated', 'evaluation is answered');
      return answer.counts;
    },
    dispose: () => thread.post({ type: 'release' }),
  };
}

/** Files as the thread gets them: open ones by their descriptor, which it reads from where they lie; small ones as copies. */
function contentOf(baseFiles: BaseFiles) {
  const transfer: ArrayBuffer[] = [];
  const files = [...baseFiles].map(([name, content]): readonly [string, FileContent] => {
    if (!(content instanceof Uint8Array) && isOpenFile(content))
      return [name, { descriptor: content.descriptor, size: content.size }];
    const bytes = content instanceof Uint8Array ? content.slice() : readRange(content, 0, content.size);
    transfer.push(bytes.buffer as ArrayBuffer);
    return [name, bytes];
  });
  return { files, transfer };
}

function isOpenFile(content: ByteSource): content is ByteSource & { readonly descriptor: number } {
  return typeof Reflect.get(content, 'descriptor') === 'number';
}
