/** The program of the thread of learning: makes the learner with the module that it is told, and serves it. */
import { errorMessage } from '../../shared/core/errors.ts';
import { failureOf } from '../../shared/core/failure.ts';
import { serveThread, type ThreadPort } from '../../shared/core/thread.node.ts';
import { openDescriptor } from '../../shared/model/byte-file.node.ts';
import type { Learner } from '../learner.ts';
import type { FromLearning, LearningNote, ToLearning } from './messages.ts';
import { serveLearner } from './serve-learner.ts';
import type { LearnerMaker, LearningBeginning } from './thread-learner.node.ts';

serveThread<ToLearning, FromLearning>(async ({ module, data }: LearningBeginning, port) => {
  const learner = await make(module, data, port);
  // The starter ends the thread; until then there is nothing to serve.
  if (learner === null) return () => undefined;
  port.post({ type: 'opened', exampleCount: learner.exampleCount });
  return serveLearner(learner, port, ({ descriptor, size }) => openDescriptor(descriptor, size));
});

async function make(module: string, data: unknown, port: ThreadPort<FromLearning>): Promise<Learner | null> {
  try {
    const { createLearner } = (await import(module)) as { readonly createLearner?: LearnerMaker<unknown> };
    if (createLearner === undefined) throw new Error(`${module} exports no createLearner`);
    return await createLearner(data, (note: LearningNote) => port.post({ type: 'told', note }));
  } catch (thrown) {
    const failure = failureOf(thrown);
    port.post({
      type: 'not-opened',
      failure: failure.kind === 'bug' ? { ...failure, message: errorMessage(thrown) } : failure,
    });
    return null;
  }
}
