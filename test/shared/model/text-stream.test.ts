import { strict as assert } from 'node:assert';
import { createTextStream } from '../../../shared/model/text-stream.ts';

/** Ids are bytes, as with byte-level tokenizers. */
const decodeBytes = (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids));

/** Ids are words; the space before the first is dropped, as SentencePiece does. */
const words = ['▁the', '▁cat', 's', ',', '▁sat', ''];
const decodeWords = (ids: readonly number[]) =>
  ids
    .map((id) => words[id]!)
    .join('')
    .replaceAll('▁', ' ')
    .trimStart();

describe('createTextStream', () => {
  it('[TXS-1] gives characters when they are complete, and all of them', () => {
    const text = 'naïve 日本 🙂.';
    const bytes = [...new TextEncoder().encode(text)];
    const stream = createTextStream(decodeBytes);
    const pieces = bytes.map((byte) => stream.push(byte));
    assert.deepEqual(
      pieces.filter((piece) => piece !== ''),
      Array.from(text),
    );
    assert.equal(pieces.join('') + stream.end(), text);
  });

  it('[TXS-2] keeps the spaces between words whose decoder drops them at the beginning', () => {
    const stream = createTextStream(decodeWords);
    const ids = [0, 1, 2, 3, 5, 4, 5];
    const pieces = ids.map((id) => stream.push(id));
    assert.deepEqual(pieces, ['the', ' cat', 's', ',', '', ' sat', '']);
    assert.equal(pieces.join('') + stream.end(), decodeWords(ids));
  });

  it('[TXS-4] goes on behind a prompt, space and all', () => {
    const stream = createTextStream(decodeWords, [0]);
    assert.deepEqual(
      [1, 3, 4].map((id) => stream.push(id)),
      [' cat', ',', ' sat'],
    );
  });

  it('[TXS-3] gives what is left of an incomplete character at the end, once', () => {
    const stream = createTextStream(decodeBytes);
    assert.equal(stream.push(0x61), 'a');
    assert.equal(stream.push(0xe6), '');
    assert.equal(stream.end(), '\ufffd');
    assert.equal(stream.end(), '');
  });
});
