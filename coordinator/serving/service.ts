/**
 * Answers requests: finds the adapter, sees to it that it is in memory, and lets the texts of all requests that wait pass through the base
 * together. What is limited, and how each limit is told, stands here; how a request came does not matter.
 */
import { errorMessage, FederationError } from '../../shared/core/errors.ts';
import { errorOf } from '../../shared/core/failure.ts';
import type { Written } from '../../shared/model/write-text.ts';
import type { TextAnswer } from './answers.ts';
import { createBatches } from './batches.ts';
import type { Catalogue, Resolved } from './catalogue.ts';
import type { Answered, AnsweringEngine, Asked } from './engine.ts';
import type { Figures } from './metrics.ts';
import { type ClassifyRequest, type GenerateRequest, textsMax } from './requests.ts';
import { createResidency } from './residency.ts';

/** How much is taken on at a time. */
export interface ServiceLimits {
  /** Bytes of adapters in memory that nobody uses. */
  readonly adapterBytesMax: number;
  /** Texts that wait. */
  readonly waitingMax: number;
  /** How long a request may take. */
  readonly timeoutMs: number;
  /** Texts that are written at a time. */
  readonly writersMax: number;
}

/** What {@link createService} needs. */
export interface ServiceOptions {
  readonly engine: AnsweringEngine;
  readonly catalogue: Pick<Catalogue, 'resolve' | 'adapters'>;
  readonly limits: ServiceLimits;
  readonly figures: Figures;
  readonly log: (line: string) => void;
}

/** Which version answered. */
export interface Answering {
  readonly adapter: string;
  readonly version: string;
  readonly modelHash: string;
}

/** The answer to a request for labels. */
export interface Classified extends Answering {
  readonly results: readonly TextAnswer[];
}

/** The answer to a request for text; the first three are null where the base wrote alone. */
export type Generated = { readonly [Field in keyof Answering]: string | null } & Written;

/** Answers requests. */
export interface Service {
  /**
   * @throws UsageError for what the request got wrong; FederationError `busy` (with `retryAfterSeconds` in its context), `timed-out`,
   * `adapter-unavailable`, `engine-died`.
   */
  classify(request: ClassifyRequest, signal: AbortSignal): Promise<Classified>;
  /** @throws likewise. */
  generate(request: GenerateRequest, signal: AbortSignal): Promise<Generated>;
  /** Texts that wait. */
  readonly waiting: number;
}

/** What a call of the engine carries. */
interface Item {
  readonly asked: Asked;
}

/** A service over an engine and a catalogue. */
export function createService({ engine, catalogue, limits, figures, log }: ServiceOptions): Service {
  const { adapterBytesMax, waitingMax, timeoutMs, writersMax } = limits;
  const residency = createResidency({ bytesMax: adapterBytesMax, drop: (key) => engine.drop(key) });
  const texts = figures.counter('tributary_texts_total', 'Texts that were answered.');
  const batchTexts = figures.histogram(
    'tributary_batch_texts',
    'Texts that passed through the base together.',
    [1, 2, 4, 8, 16, 32, 64],
  );
  const batchAdapters = figures.histogram(
    'tributary_batch_adapters',
    'Adapters that shared a pass.',
    [1, 2, 4, 8, 16, 32, 64],
  );
  figures.gauge('tributary_waiting_texts', 'Texts that wait for the engine.', () => batches.waiting + arriving);
  figures.gauge('tributary_writing_texts', 'Texts that are being written.', () => writers);
  figures.gauge('tributary_adapters', 'Adapters that are offered.', () => catalogue.adapters.length);
  figures.gauge('tributary_resident_adapters', 'Adapters in memory.', () => residency.counts.resident);
  figures.gauge('tributary_resident_bytes', 'Bytes of adapters in memory.', () => residency.counts.bytes);
  figures.gauge('tributary_adapter_loads', 'Adapters that were loaded since the start.', () => residency.counts.loads);
  figures.gauge('tributary_adapter_evictions', 'Adapters that made room for others.', () => residency.counts.evictions);
  // Texts per second of late, for how long to wait where there is no room.
  let pace = 100;
  // Texts of requests whose adapter is being loaded.
  let [arriving, writers] = [0, 0];
  const batches = createBatches<Item, Answered>({
    textsMax,
    waitingMax,
    run: async (items) => {
      const count = items.reduce((sum, { asked }) => sum + asked.inputs.length, 0);
      const startedMs = performance.now();
      const answers = await engine.answer(items.map(({ asked }) => asked));
      pace += 0.2 * ((1000 * count) / Math.max(1, performance.now() - startedMs) - pace);
      batchTexts.observe(count);
      batchAdapters.observe(new Set(items.map(({ asked }) => asked.key)).size);
      texts.add(
        {},
        answers.reduce((sum, one) => sum + (one.ok ? one.answers.length : 0), 0),
      );
      return answers;
    },
  });

  /** Runs `work` under a signal that also aborts when the time is up. */
  const within = async <Value>(signal: AbortSignal, work: (both: AbortSignal) => Promise<Value>): Promise<Value> => {
    const timer = new AbortController();
    const timeout = setTimeout(() => {
      const sentence = `there was no answer within ${timeoutMs / 1000} s; ask for fewer texts, or later`;
      timer.abort(new FederationError('timed-out', sentence));
    }, timeoutMs);
    return work(AbortSignal.any([signal, timer.signal])).finally(() => clearTimeout(timeout));
  };
  /** The adapter in memory under its key, until `release`. */
  const open = async ({ name, version }: Resolved) => {
    const { key } = version;
    const label = `${name}@${version.version}`;
    try {
      const { dim } = version.facts();
      const load = async (): Promise<void> => engine.load(key, await version.read());
      return { key, release: await residency.use({ key, bytes: 4 * dim, load }) };
    } catch (cause) {
      if (cause instanceof FederationError && ['engine-died', 'version-replaced'].includes(cause.code)) throw cause;
      log(`${label} cannot be loaded: ${errorMessage(cause)}`);
      throw new FederationError('adapter-unavailable', `${label} cannot be loaded; the log of the server says why`, {
        cause,
      });
    }
  };
  const busy = (what: string, seconds: number): FederationError =>
    new FederationError('busy', `${what}; ask again in ${seconds} s`, { context: { retryAfterSeconds: seconds } });

  return {
    classify: async ({ adapter, texts: inputs, top, task }, signal) => {
      const resolved = catalogue.resolve(adapter);
      const count = inputs.length;
      const ahead = batches.waiting + arriving;
      if (!batches.hasRoom(arriving + count))
        throw busy(`${ahead} texts wait already`, Math.max(1, Math.ceil(ahead / Math.max(1, pace))));
      const answered = await within(signal, async (both) => {
        arriving += count;
        const { key, release } = await open(resolved).finally(() => {
          arriving -= count;
        });
        const item: Item = { asked: { key, inputs, top, task } };
        return batches.add({ item, texts: count, signal: both, onDone: release });
      });
      if (!answered.ok) throw errorOf(answered.failure);
      return { ...answering(resolved), results: answered.answers };
    },
    generate: async ({ adapter, ...writing }, signal) => {
      const resolved = adapter === undefined ? null : catalogue.resolve(adapter);
      if (writers >= writersMax) throw busy(`${writers} texts are being written already`, 1);
      writers++;
      let release = (): void => undefined;
      try {
        const opened = resolved === null ? null : await open(resolved);
        release = opened?.release ?? release;
        const key = opened?.key ?? null;
        const written = await within(signal, (both) => engine.write({ key, ...writing }, both));
        return { ...(resolved === null ? nobody : answering(resolved)), ...written };
      } finally {
        release();
        writers--;
      }
    },
    get waiting() {
      return batches.waiting + arriving;
    },
  };
}

const nobody = { adapter: null, version: null, modelHash: null };

function answering({ name, version: { version, modelHash } }: Resolved): Answering {
  return { adapter: name, version, modelHash };
}
