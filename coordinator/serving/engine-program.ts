/** The program of the thread that computes answers: loads the base, then takes calls; what waits for a back end lets others go on. */
import { useBackend } from '../../shared/compute/backend.ts';
import { FederationError } from '../../shared/core/errors.ts';
import { failureOf } from '../../shared/core/failure.ts';
import { serveThread } from '../../shared/core/thread.node.ts';
import { loadBase } from '../../shared/model/load.node.ts';
import { type AnsweringEngine, createEngine } from './engine.ts';
import type { EngineAnswer, EngineSettings, FromEngine, ToEngine } from './engine-messages.ts';

type Call = Exclude<ToEngine, { readonly type: 'drop' | 'cancel' }>;

serveThread<ToEngine, FromEngine>(async (settings: EngineSettings, port) => {
  const engine = await open(settings, port.post);
  // The starter ends the thread; until then there is nothing to serve.
  if (engine === null) return () => undefined;
  const underWay = new Map<number, AbortController>();
  return async (message) => {
    if (message.type === 'drop') return engine.drop(message.key);
    if (message.type === 'cancel')
      return underWay.get(message.call)?.abort(new FederationError('cancelled', 'the call is no longer wanted'));
    const controller = new AbortController();
    underWay.set(message.call, controller);
    const signal = AbortSignal.any([controller.signal, port.signal]);
    port.post(await answerTo(engine, message, signal).catch((thrown: unknown) => failed(message, thrown)));
    underWay.delete(message.call);
  };
});

async function open(
  { baseFolder, backend, threads, frozenWeights }: EngineSettings,
  post: (message: FromEngine) => void,
): Promise<AnsweringEngine | null> {
  try {
    const { name } = await useBackend(backend, { threads });
    const base = await loadBase(baseFolder, { frozenWeights });
    post({ type: 'opened', facts: { base: base.model.description, backend: name } });
    return createEngine(base);
  } catch (thrown) {
    post({ type: 'not-opened', failure: failureOf(thrown) });
    return null;
  }
}

async function answerTo(engine: AnsweringEngine, message: Call, signal: AbortSignal): Promise<EngineAnswer> {
  const { call } = message;
  switch (message.type) {
    case 'load':
      await engine.load(message.key, message.document);
      return { type: 'loaded', call };
    case 'answer':
      return { type: 'answered', call, answered: await engine.answer(message.asked) };
    case 'write':
      return { type: 'written', call, written: await engine.write(message.writing, signal) };
    default:
      return message satisfies never;
  }
}

function failed({ call }: Call, thrown: unknown): EngineAnswer {
  return { type: 'failed', call, failure: failureOf(thrown) };
}
