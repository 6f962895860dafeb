/** Tokenizers as published with checkpoints (`tokenizer.json`), with the truncation of Transformers. The only importer of the library. */
import { Tokenizer as PublishedTokenizer } from '@huggingface/tokenizers';
import { FormatError, UsageError } from '../core/errors.ts';
import { type Configuration, parseJsonObject } from './configuration.ts';

/** Turns text into token ids. */
export interface Tokenizer {
  /**
   * At most `lengthMax` ids. Special tokens are part of them and are never cut: a longer text loses tokens at its end (at its beginning
   * where `tokenizer_config.json` has `truncation_side` `left`).
   * @throws UsageError `length-too-short` when not even the special tokens fit.
   */
  encode(text: string, lengthMax: number): Int32Array;
  /** The id that fills short rows of a batch. The mask hides it, so any id is right where the files name none. */
  readonly padId: number;
}

/** What {@link createTokenizer} reads. */
export interface TokenizerFiles {
  readonly tokenizer: Uint8Array;
  readonly settings: Uint8Array | undefined;
  /** `config.json`: the padding id where the tokenizer's settings name no token. */
  readonly configuration: Configuration;
  readonly vocabularySize: number;
}

/** @throws FormatError `bad-tokenizer` when a file is broken or the vocabulary has ids that the base has no embedding for. */
export function createTokenizer({ tokenizer, settings, configuration, vocabularySize }: TokenizerFiles): Tokenizer {
  const options = settings === undefined ? {} : parseJsonObject(settings, 'tokenizer_config.json');
  const published = parseTokenizer(parseJsonObject(tokenizer, 'tokenizer.json'), options);
  let idMax = -1;
  for (const id of published.get_vocab(true).values()) idMax = Math.max(idMax, id);
  if (idMax >= vocabularySize) {
    throw new FormatError(
      'bad-tokenizer',
      `tokenizer.json has the id ${idMax}, config.json a vocabulary of ${vocabularySize}: they do not belong together`,
    );
  }
  const { before, after } = specialTokensOf(published);
  const keepsEnd = options.truncation_side === 'left';
  return {
    encode: (text, lengthMax) => {
      const { ids } = published.encode(text);
      if (ids.length <= lengthMax) return Int32Array.from(ids);
      const room = lengthMax - before - after;
      if (room < 0) {
        throw new UsageError(
          'length-too-short',
          `${lengthMax} tokens do not hold the ${before + after} special tokens of this tokenizer; allow at least ${before + after + 1}`,
        );
      }
      const bare = ids.slice(before, ids.length - after);
      const kept = keepsEnd ? bare.slice(bare.length - room) : bare.slice(0, room);
      return Int32Array.from([...ids.slice(0, before), ...kept, ...ids.slice(ids.length - after)]);
    },
    padId: padIdOf(published, options, configuration, vocabularySize),
  };
}

function parseTokenizer(tokenizer: Configuration, options: Configuration): PublishedTokenizer {
  try {
    return new PublishedTokenizer(tokenizer, options);
  } catch (cause) {
    throw new FormatError('bad-tokenizer', 'tokenizer.json is not a tokenizer that this version can read', { cause });
  }
}

/** How many special tokens stand before and after a text: found by encoding one with and without them. */
function specialTokensOf(published: PublishedTokenizer): { before: number; after: number } {
  const probe = 'a';
  const whole = published.encode(probe).ids;
  const bare = published.encode(probe, { add_special_tokens: false }).ids;
  for (let before = 0; before + bare.length <= whole.length; before++) {
    if (bare.every((id: number, index: number) => whole[before + index] === id))
      return { before, after: whole.length - bare.length - before };
  }
  throw new FormatError('bad-tokenizer', 'tokenizer.json has a post-processor that changes the tokens of the text');
}

function padIdOf(
  published: PublishedTokenizer,
  options: Configuration,
  configuration: Configuration,
  vocabularySize: number,
): number {
  const named = options.pad_token;
  const token = typeof named === 'object' && named !== null ? Reflect.get(named, 'content') : named;
  const id = typeof token === 'string' ? published.token_to_id(token) : (configuration.pad_token_id ?? 0);
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabularySize) return id;
  throw new FormatError('bad-tokenizer', `the padding token ${JSON.stringify(token ?? id)} is not in the vocabulary`);
}
