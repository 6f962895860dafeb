/** The thread's side of a learner: takes calls one after the other, answers each once, and moves what it gives away. */
import { assert } from '../../shared/core/assert.ts';
import { FederationError } from '../../shared/core/errors.ts';
import { failureOf } from '../../shared/core/failure.ts';
import type { ByteSource } from '../../shared/model/byte-source.ts';
import type { Learner, PreparedLearning } from '../learner.ts';
import type { Answer, FileContent, FromLearning, ToLearning } from './messages.ts';

/** Where answers go. */
export interface LearningPort {
  post(message: FromLearning, transfer?: readonly ArrayBuffer[]): void;
  /** Aborted when no more is wanted. */
  readonly signal: AbortSignal;
}

/** A call of the other side. */
type Call = Extract<ToLearning, { readonly call: number }>;

/** What takes the messages for `learner`. `open` reads an open file of this process. */
export function serveLearner(
  learner: Learner,
  port: LearningPort,
  open: (file: Exclude<FileContent, Uint8Array>) => ByteSource,
): (message: ToLearning) => Promise<void> {
  let prepared: PreparedLearning | null = null;
  let last: Promise<void> = Promise.resolve();
  const underWay = new Map<number, AbortController>();

  const answerTo = async (message: Exclude<Call, { type: 'cancel' }>, signal: AbortSignal): Promise<Answer> => {
    const { call } = message;
    signal.throwIfAborted();
    if (message.type === 'prepare') {
      prepared?.dispose();
      prepared = null;
      const files = new Map(
        message.files.map(([name, content]) => [name, content instanceof Uint8Array ? content : open(content)]),
      );
      const learning = await learner.prepare(message.plan, files);
      prepared = learning;
      const { baseDigest, layout, trainedLayout, heldOutCount } = learning;
      const facts = { baseDigest, layout, ...(trainedLayout && { trainedLayout }), heldOutCount };
      return { type: 'prepared', call, facts };
    }
    assert(prepared !== null, 'a plan is prepared before anything else');
    switch (message.type) {
      case 'initialise': {
        assert(prepared.initialise !== undefined, 'a learner in a thread has start values');
        return { type: 'initialised', call, values: await prepared.initialise(message.seed) };
      }
      case 'train': {
        const { start, frozen, roundIndex, charges } = message;
        const onProgress = (progress: Extract<FromLearning, { type: 'progress' }>['progress']): void =>
          port.post({ type: 'progress', call, progress });
        return {
          type: 'trained',
          call,
          update: await prepared.train({ start, frozen, roundIndex, charges, onProgress, signal }),
        };
      }
      case 'evaluate':
        return { type: 'evaluated', call, counts: await prepared.evaluate(message.parameters, signal) };
      default:
        return message satisfies never;
    }
  };
  const run = async (message: Exclude<Call, { type: 'cancel' }>, { signal }: AbortController): Promise<void> => {
    const { call } = message;
    let answer: Answer;
    try {
      answer = await answerTo(message, AbortSignal.any([signal, port.signal]));
    } catch (thrown) {
      answer = { type: 'failed', call, failure: failureOf(thrown) };
    }
    underWay.delete(call);
    port.post(answer, movedOf(answer));
  };
  /** One after the other: nothing computes on a base that is loaded or freed. */
  const enqueue = (work: () => Promise<void> | void): Promise<void> => {
    last = last.then(work);
    return last;
  };
  return (message) => {
    if (message.type === 'cancel') {
      underWay.get(message.call)?.abort(new FederationError('cancelled', 'the call is no longer wanted'));
      return Promise.resolve();
    }
    if (message.type === 'release') {
      return enqueue(() => {
        prepared?.dispose();
        prepared = null;
      });
    }
    const controller = new AbortController();
    underWay.set(message.call, controller);
    return enqueue(() => run(message, controller));
  };
}

/** Memory that goes with an answer: vectors that nobody here keeps. */
function movedOf(answer: Answer): ArrayBuffer[] {
  if (answer.type === 'trained') return [answer.update.delta.buffer as ArrayBuffer];
  return answer.type === 'initialised' ? [answer.values.buffer as ArrayBuffer] : [];
}
