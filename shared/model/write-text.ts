/** Text that a causal base writes after a prompt, piece by piece as it comes. */
import { UsageError } from '../core/errors.ts';
import { type Generation, type GenerationOptions, generate } from './generate.ts';
import { createTextStream } from './text-stream.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What {@link writeText} needs. */
export interface WritingOptions extends Omit<GenerationOptions, 'prompt' | 'stopIds' | 'onToken'> {
  readonly tokenizer: Tokenizer;
  readonly prompt: string;
  /** Whether the prompt is a user's message, to be written as the base's chat template says. */
  readonly chat?: boolean | undefined;
  /** Gets the text as it comes, sometimes empty; the next token waits for it. */
  readonly onPiece: (piece: string) => void | Promise<void>;
}

/** What was written. */
export interface Written {
  /** What was added to the prompt. */
  readonly text: string;
  readonly ending: Generation['ending'];
  readonly tokens: { readonly prompt: number; readonly added: number };
}

/** Writes. @throws UsageError `no-chat-template`, `empty-prompt`, and as `generate` does. */
export async function writeText({ tokenizer, prompt, chat, onPiece, ...options }: WritingOptions): Promise<Written> {
  const ids = promptIds(prompt, chat ?? false, tokenizer);
  const stream = createTextStream(tokenizer.decode, ids);
  let text = '';
  const say = (piece: string): void | Promise<void> => {
    text += piece;
    return onPiece(piece);
  };
  const { ids: added, ending } = await generate({
    ...options,
    prompt: ids,
    stopIds: new Set(tokenizer.endId === null ? [] : [tokenizer.endId]),
    onToken: (id) => say(stream.push(id)),
  });
  await say(stream.end());
  return { text, ending, tokens: { prompt: ids.length, added: added.length } };
}

/** The prompt as the base has seen texts begin: with what stands before them, and without what ends them. */
function promptIds(prompt: string, isChat: boolean, tokenizer: Tokenizer): Int32Array {
  if (isChat) {
    if (tokenizer.chat === null) {
      throw new UsageError(
        'no-chat-template',
        'the base has no chat_template in tokenizer_config.json; leave out --chat, and write the prompt as its texts are',
      );
    }
    return tokenizer.pieces(tokenizer.chat.render([{ role: 'user', content: prompt }], { isPrompt: true }));
  }
  const ids = Int32Array.from([...tokenizer.frame.before, ...tokenizer.pieces(prompt)]);
  if (ids.length > 0) return ids;
  throw new UsageError('empty-prompt', 'the prompt is empty, and this base has no token that begins a text');
}
