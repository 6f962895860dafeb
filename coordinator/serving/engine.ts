/**
 * What computes answers: one frozen base, and the adapters that were loaded beside it. Requests for any of them are answered in one call, whose
 * texts pass through the base together. Whoever calls decides which adapters are there, and drops none that is in use.
 */
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { assert } from '../../shared/core/assert.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { type Failure, failureOf } from '../../shared/core/failure.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Sampling } from '../../shared/model/sampling.ts';
import { type Written, writeText } from '../../shared/model/write-text.ts';
import {
  type MixedRow,
  type Resident,
  residentHooks,
  residentOf,
  scoreMixed,
} from '../../shared/training/mixed-pass.ts';
import { nextTurn } from '../../shared/training/turn.ts';
import { answerOf, readingOf, type TextAnswer, type TextInput, type TextReading } from './answers.ts';

/** Texts of one request for an adapter that was loaded as `key`. */
export interface Asked {
  readonly key: string;
  readonly inputs: readonly TextInput[];
  /** Labels that are named for every text, the likeliest first. */
  readonly top: number;
  /** Where the adapter has several tasks, which; absent means all. */
  readonly task?: string | undefined;
}

/** The answer to one request: one for each of its texts, or why there is none. */
export type Answered =
  | { readonly ok: true; readonly answers: readonly TextAnswer[] }
  | { readonly ok: false; readonly failure: Failure };

/** A text to be gone on with. */
export interface Writing {
  /** The adapter; null for the base alone. */
  readonly key: string | null;
  readonly prompt: string;
  readonly chat: boolean;
  readonly lengthMax: number;
  readonly sampling: Sampling;
  readonly seed: number;
}

/** Answers for the adapters that are loaded. */
export interface AnsweringEngine {
  /** Loads an adapter. @throws as `residentOf` does. */
  load(key: string, document: AdapterDocument): Promise<void>;
  /** Frees an adapter that nothing asks for. */
  drop(key: string): void;
  /** Answers in the order of the requests; a request that fails leaves the others alone. */
  answer(asked: readonly Asked[]): Promise<readonly Answered[]>;
  /** Writes a text; requests are answered in between. @throws as `writeText` does; the reason of `signal`. */
  write(writing: Writing, signal: AbortSignal): Promise<Written>;
}

/** An engine on a base that is on the current back end. */
export function createEngine(base: LoadedBase): AnsweringEngine {
  const residents = new Map<string, Resident>();
  const named = (key: string): Resident => {
    const resident = residents.get(key);
    assert(resident !== undefined, `the adapter ${key} is loaded before it is asked`);
    return resident;
  };
  /** What a request reads, or why it cannot be read. */
  const readingsOf = ({ key, inputs, task }: Asked): readonly TextReading[] | Failure => {
    try {
      const { model } = named(key);
      return inputs.map((input, index) => readingOf(input, index, { model, tokenizer: base.tokenizer, task }));
    } catch (thrown) {
      return failureOf(thrown);
    }
  };
  return {
    load: async (key, document) => {
      assert(!residents.has(key), `the adapter ${key} is loaded once`);
      residents.set(key, residentOf(document, base));
    },
    drop: (key) => {
      residents.get(key)?.dispose();
      residents.delete(key);
    },
    answer: async (asked) => {
      const readings = asked.map(readingsOf);
      const rows = readings.flatMap((own, index): MixedRow[] => {
        if ('kind' in own) return [];
        const resident = named(asked[index]!.key);
        return own.flatMap(({ rows: texts }) => texts.map((text) => ({ resident, ...text })));
      });
      const scores = await scoreMixed(base, rows);
      let next = 0;
      return readings.map((own, index): Answered => {
        if ('kind' in own) return { ok: false, failure: own };
        const answers = own.map((reading) => {
          const found = scores.slice(next, next + reading.rows.length).flat();
          next += reading.rows.length;
          return answerOf(reading, found, asked[index]!.top);
        });
        return { ok: true, answers };
      });
    },
    write: async ({ key, prompt, chat, lengthMax, sampling, seed }, signal) => {
      const { model } = base;
      if (key === null && !model.description.hasLanguageModelHead)
        throw new UsageError(
          'no-language-model-head',
          'the base has no language-model head, so that it writes no text',
        );
      const adapter = key === null ? null : residentHooks(named(key));
      try {
        return await writeText({
          model,
          tokenizer: base.tokenizer,
          ...(adapter === null ? {} : { hooksOf: adapter.hooksOf }),
          prompt,
          chat,
          lengthMax,
          sampling,
          random: seededRandom(seed, 'generate'),
          onPiece: () => nextTurn(),
          signal,
        });
      } finally {
        adapter?.dispose();
      }
    },
  };
}
