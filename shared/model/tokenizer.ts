/** Tokenizers as published with checkpoints (`tokenizer.json`), with the truncation of Transformers. The only importer of the library. */
import { Tokenizer as PublishedTokenizer } from '@huggingface/tokenizers';
import { FormatError, UsageError } from '../core/errors.ts';
import { type ChatTemplate, chatTemplateOf, tokenText } from './chat-template.ts';
import { type Configuration, parseJsonObject } from './configuration.ts';

/** Turns text into token ids. */
export interface Tokenizer {
  /**
   * At most `lengthMax` ids. Special tokens are part of them and are never cut: a longer text loses tokens at its end (at its beginning
   * where `tokenizer_config.json` has `truncation_side` `left`).
   * @throws UsageError `length-too-short` when not even the special tokens fit.
   */
  encode(text: string, lengthMax: number): Int32Array;
  /** Ids of `text` alone: nothing is put around it and nothing is cut. Special tokens that are spelled out in it count as such. */
  pieces(text: string): Int32Array;
  /** The text of ids, without special tokens. */
  decode(ids: ArrayLike<number>): string;
  /** The id that fills short rows of a batch. The mask hides it, so any id is right where the files name none. */
  readonly padId: number;
  /** Ids that {@link encode} puts before and after every text. */
  readonly frame: { readonly before: Int32Array; readonly after: Int32Array };
  /**
   * Ids of the token that ends a text (`tokenizer_config.json`, else `eos_token_id` of `config.json`) and of the one that stands for a masked token
   * (the same file, else a special token of the customary name); null where the files name none.
   */
  readonly endId: number | null;
  readonly maskId: number | null;
  /** Ids that stand for no text: those that the tokenizer calls special. */
  readonly specialIds: ReadonlySet<number>;
  /** How chats are written for this base; null where `tokenizer_config.json` has no chat template. */
  readonly chat: ChatTemplate | null;
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
  const frame = frameOf(published);
  const [before, after] = [frame.before.length, frame.after.length];
  const keepsEnd = options.truncation_side === 'left';
  return {
    encode: (text, lengthMax) => {
      const { ids } = readable(() => published.encode(text));
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
    pieces: (text) => Int32Array.from(readable(() => published.encode(text, { add_special_tokens: false }).ids)),
    // The library refuses to decode nothing.
    decode: (ids) =>
      ids.length === 0 ? '' : readable(() => published.decode(Array.from(ids), { skip_special_tokens: true })),
    padId: padIdOf(published, options, configuration, vocabularySize),
    frame,
    endId: namedId(published, options.eos_token) ?? idIn(configuration.eos_token_id, vocabularySize),
    maskId: namedId(published, options.mask_token) ?? customaryMaskId(published),
    specialIds: new Set(
      [...published.get_added_tokens_decoder()].filter(([, { special }]) => special).map(([id]) => id),
    ),
    chat: chatTemplateOf(options),
  };
}

function namedId(published: PublishedTokenizer, token: unknown): number | null {
  const text = tokenText(token);
  return text === null ? null : (published.token_to_id(text) ?? null);
}

/** An id that `config.json` names, the first of several; null where it names none. */
function idIn(named: unknown, vocabularySize: number): number | null {
  const id: unknown = Array.isArray(named) ? named[0] : named;
  return typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabularySize ? id : null;
}

/** The mask of folders without `tokenizer_config.json`: a special token with one of the two names that published encoders give it. */
function customaryMaskId(published: PublishedTokenizer): number | null {
  for (const [id, { content, special }] of published.get_added_tokens_decoder())
    if (special && (content === '[MASK]' || content === '<mask>')) return id;
  return null;
}

function parseTokenizer(tokenizer: Configuration, options: Configuration): PublishedTokenizer {
  return readable(() => new PublishedTokenizer(tokenizer, options));
}

/** The library looks at many settings only when it works with them. @throws FormatError `bad-tokenizer` for whatever it throws. */
function readable<Value>(work: () => Value): Value {
  try {
    return work();
  } catch (cause) {
    throw new FormatError('bad-tokenizer', 'tokenizer.json is not a tokenizer that this version can read', { cause });
  }
}

/** The special tokens before and after a text: found by encoding one with and without them. */
function frameOf(published: PublishedTokenizer): Tokenizer['frame'] {
  const probe = 'a';
  const whole = readable(() => published.encode(probe).ids);
  const bare = readable(() => published.encode(probe, { add_special_tokens: false }).ids);
  for (let before = 0; before + bare.length <= whole.length; before++) {
    if (bare.every((id: number, index: number) => whole[before + index] === id))
      return {
        before: Int32Array.from(whole.slice(0, before)),
        after: Int32Array.from(whole.slice(before + bare.length)),
      };
  }
  throw new FormatError('bad-tokenizer', 'tokenizer.json has a post-processor that changes the tokens of the text');
}

function padIdOf(
  published: PublishedTokenizer,
  options: Configuration,
  configuration: Configuration,
  vocabularySize: number,
): number {
  const token = tokenText(options.pad_token);
  const id = token === null ? (configuration.pad_token_id ?? 0) : published.token_to_id(token);
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabularySize) return id;
  throw new FormatError('bad-tokenizer', `the padding token ${JSON.stringify(token ?? id)} is not in the vocabulary`);
}
