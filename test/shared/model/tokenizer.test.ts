import { strict as assert } from 'node:assert';
import { utf8 } from '../../../shared/core/bytes.ts';
import { FormatError, UsageError } from '../../../shared/core/errors.ts';
import { pretrainedFolder, readBaseFiles } from '../../../shared/model/load.node.ts';
import { createTokenizer, type TokenizerFiles } from '../../../shared/model/tokenizer.ts';
import { wordPieces } from './word-pieces.ts';

function tokenizerOf(changes: Partial<TokenizerFiles> = {}) {
  return createTokenizer({
    tokenizer: utf8(JSON.stringify(wordPieces)),
    settings: undefined,
    configuration: {},
    vocabularySize: 9,
    ...changes,
  });
}

const settings = (value: object) => utf8(JSON.stringify(value));

describe('createTokenizer', () => {
  it('[TOK-1] encodes with the special tokens of the checkpoint', () => {
    assert.deepEqual([...tokenizerOf().encode('Lost my cards.', 10)], [2, 5, 6, 4, 7, 8, 3]);
    assert.deepEqual([...tokenizerOf().encode('', 10)], [2, 3]);
    assert.deepEqual([...tokenizerOf().encode('zebra', 10)], [2, 1, 3]);
  });

  it('[TOK-2] cuts long texts at the end and keeps the special tokens', () => {
    const tokenizer = tokenizerOf();
    assert.deepEqual([...tokenizer.encode('Lost my cards.', 7)], [2, 5, 6, 4, 7, 8, 3]);
    assert.deepEqual([...tokenizer.encode('Lost my cards.', 5)], [2, 5, 6, 4, 3]);
    assert.deepEqual([...tokenizer.encode('Lost my cards.', 2)], [2, 3]);
    assert.throws(
      () => tokenizer.encode('Lost my cards.', 1),
      (error: unknown) =>
        error instanceof UsageError && error.code === 'length-too-short' && /allow at least 3/.test(error.message),
    );
  });

  it('[TOK-3] cuts at the beginning where the checkpoint says so', () => {
    const left = tokenizerOf({ settings: settings({ truncation_side: 'left' }) });
    assert.deepEqual([...left.encode('Lost my cards.', 5)], [2, 4, 7, 8, 3]);
    assert.deepEqual([...left.encode('Lost my cards.', 2)], [2, 3]);
  });

  it('[TOK-4] takes the padding id from the tokenizer, else from the model, else any', () => {
    assert.equal(
      tokenizerOf({ settings: settings({ pad_token: '[SEP]' }), configuration: { pad_token_id: 1 } }).padId,
      3,
    );
    assert.equal(tokenizerOf({ settings: settings({ pad_token: { content: '[UNK]' } }) }).padId, 1);
    assert.equal(tokenizerOf({ configuration: { pad_token_id: 5 } }).padId, 5);
    assert.equal(tokenizerOf().padId, 0);
    assert.throws(
      () => tokenizerOf({ settings: settings({ pad_token: '<none>' }) }),
      /padding token "<none>" is not in the vocabulary/,
    );
    assert.throws(
      () => tokenizerOf({ configuration: { pad_token_id: 9 } }),
      /padding token 9 is not in the vocabulary/,
    );
  });

  it('[TOK-5] refuses a tokenizer of another base, and what is no tokenizer', () => {
    const refused = (changes: Partial<TokenizerFiles>, pattern: RegExp) =>
      assert.throws(
        () => tokenizerOf(changes),
        (error: unknown) => error instanceof FormatError && pattern.test(error.message),
      );
    refused({ vocabularySize: 8 }, /tokenizer\.json has the id 8, config\.json a vocabulary of 8/);
    refused({ tokenizer: utf8('{"model":{}}') }, /not a tokenizer that this version can read/);
    refused({ tokenizer: utf8('[]') }, /must hold one JSON object/);
  });

  it('[TOK-6] the base that ships gives the ids of its card: <s> before, </s> after, <pad> for padding', async () => {
    const files = await readBaseFiles(pretrainedFolder());
    const tokenizer = createTokenizer({
      tokenizer: files.get('tokenizer.json')!,
      settings: files.get('tokenizer_config.json'),
      configuration: {},
      vocabularySize: 6144,
    });
    assert.equal(tokenizer.padId, 1);
    const ids = tokenizer.encode('I lost my card — привет 😀', 64);
    assert.equal(ids[0], 0);
    assert.equal(ids.at(-1), 2);
    assert.ok(
      ids.every((id) => id !== 3),
      'a byte-level vocabulary has no unknown text',
    );
    assert.deepEqual([...tokenizer.encode('I lost my card — привет 😀', 4)], [0, ids[1], ids[2], 2]);
  });

  it('[TOK-7] gives pieces without special tokens, and says which ids frame a text, end it and stand for masked ones', () => {
    const tokenizer = tokenizerOf({
      settings: utf8(JSON.stringify({ mask_token: '[UNK]', eos_token: { content: '[SEP]' } })),
    });
    assert.deepEqual([...tokenizer.pieces('my cards')], [6, 4, 7]);
    assert.deepEqual(tokenizer.frame, { before: Int32Array.of(2), after: Int32Array.of(3) });
    assert.deepEqual([tokenizer.endId, tokenizer.maskId], [3, 1]);
    assert.deepEqual([...tokenizer.specialIds], [0, 1, 2, 3]);
    assert.equal(tokenizer.chat, null);
    assert.deepEqual([tokenizerOf().endId, tokenizerOf().maskId], [null, null]);
  });

  it('[TOK-8] without tokenizer_config.json the mask is the special token of that name, the end what config.json says', () => {
    const [first, ...others] = wordPieces.added_tokens;
    for (const [content, special, maskId] of [
      ['[MASK]', true, 0],
      ['<mask>', true, 0],
      ['[MASK]', false, null],
      ['[PAD]', true, null],
    ] as const) {
      const { '[PAD]': _, ...vocab } = wordPieces.model.vocab;
      const tokenizer = settings({
        ...wordPieces,
        added_tokens: [{ ...first, content, special }, ...others],
        model: { ...wordPieces.model, vocab: { ...vocab, [content]: 0 } },
      });
      assert.equal(tokenizerOf({ tokenizer }).maskId, maskId, `${content}, special: ${special}`);
    }
    assert.equal(tokenizerOf({ configuration: { eos_token_id: 3 } }).endId, 3);
    assert.equal(tokenizerOf({ configuration: { eos_token_id: [4, 5] } }).endId, 4);
    assert.equal(tokenizerOf({ configuration: { eos_token_id: 9 } }).endId, null);
    const named = settings({ eos_token: '[SEP]' });
    assert.equal(tokenizerOf({ settings: named, configuration: { eos_token_id: 4 } }).endId, 3);
  });
});
