/**
 * Text of tokens as they come. A token is not always text by itself: characters are spread over several, and decoders drop the space before
 * the first one. So every piece is what the text gains by its tokens, read behind those of the piece before it.
 */

/** Stands where bytes do not make a character yet. */
const incomplete = '\ufffd';

/** Gives text piece by piece. */
export interface TextStream {
  /** The text that `id` completes; empty while a character is incomplete. */
  push(id: number): string;
  /** What is left, complete or not. */
  end(): string;
}

/** A stream over `decode`, which gives the text of ids, behind the tokens `prompt`. */
export function createTextStream(
  decode: (ids: readonly number[]) => string,
  prompt: Iterable<number> = [],
): TextStream {
  let before: readonly number[] = [...prompt];
  let pending: number[] = [];
  const gained = () => decode([...before, ...pending]).slice(decode(before).length);
  const take = (text: string): string => {
    before = pending;
    pending = [];
    return text;
  };
  return {
    push: (id) => {
      pending.push(id);
      const text = gained();
      return text === '' || text.endsWith(incomplete) ? '' : take(text);
    },
    end: () => (pending.length === 0 ? '' : take(gained())),
  };
}
