/** A random BERT with a masked head and a tokenizer of letters. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '../../shared/core/bytes.ts';
import { fixtureFiles } from '../shared/model/fixtures.ts';

/** The random BERT of the parity fixtures with a tokenizer of letters. */
export async function writeSmallBert(folder: string): Promise<void> {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const pieces = ['a', 'b', 'c', 'x', 'y', 'z'].flatMap((letter) => [letter, `##${letter}`]);
  const frame = (name: string, id: number) => ({ [name]: { id: name, ids: [id], tokens: [name] } });
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => {
      return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
    }),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { ...frame('[CLS]', 2), ...frame('[SEP]', 3) },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries([...special, ...pieces].map((piece, id) => [piece, id])),
    },
  };
  const files = new Map(fixtureFiles('bert'));
  files.set('tokenizer.json', utf8(JSON.stringify(tokenizer)));
  files.set('tokenizer_config.json', utf8(JSON.stringify({ mask_token: '[MASK]', pad_token: '[PAD]' })));
  mkdirSync(folder);
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
}
