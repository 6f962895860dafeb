/** A trained Llama of 260 thousand parameters that writes children's stories, with what an independent program computed with it. */
import { strict as assert } from 'node:assert';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logSoftmax, memory, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { utf8 } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { generate } from '../../../shared/model/generate.ts';
import { readBaseFiles } from '../../../shared/model/load.node.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import { createTextStream } from '../../../shared/model/text-stream.ts';
import { largestError } from './fixtures.ts';

const dataFolder = process.env.TRIBUTARY_DATA ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
const folder = join(dataFolder, 'weights/stories260k');

interface Reference {
  readonly prompt: {
    readonly text: string;
    readonly ids: readonly number[];
    readonly next_token_argmax: number;
    readonly last_logits: readonly number[];
    readonly mean_nll_per_token: number;
  };
  readonly greedy_from_bos: { readonly ids: readonly number[]; readonly text: string };
}

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(folder, name), 'utf8'));
}

/**
 * The vocabulary as a `tokenizer.json`. SentencePiece merges the two neighbours whose joint piece has the best score; here the same order
 * stands as a list of all pairs of pieces that make a piece, the best piece first.
 */
function tokenizerJson(): string {
  const vocabulary = readJson('vocab.json') as readonly { id: number; piece: string; score: number }[];
  const special = ['<unk>', '<s>', '</s>'];
  const spelled = vocabulary.map(({ id, piece }) => special[id] ?? piece.replaceAll(' ', '▁'));
  const known = new Set(spelled);
  const isByte = (piece: string) => /^<0x[0-9A-F]{2}>$/.test(piece);
  const merged = vocabulary
    .filter(({ id }) => id >= special.length && !isByte(spelled[id]!) && Array.from(spelled[id]!).length > 1)
    .sort((left, right) => right.score - left.score);
  const merges = merged.flatMap(({ id }) => {
    const characters = Array.from(spelled[id]!);
    return characters.slice(1).flatMap((_, index) => {
      const pair = [characters.slice(0, index + 1).join(''), characters.slice(index + 1).join('')];
      return pair.every((part) => known.has(part)) ? [pair] : [];
    });
  });
  return JSON.stringify({
    version: '1.0',
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(spelled.map((piece, id) => [piece, id])),
      merges,
    },
  });
}

describe('stories260k, a Llama as published', () => {
  before(function () {
    if (existsSync(join(folder, 'reference.json'))) return;
    console.error(`      not run: ${folder} is not there; set TRIBUTARY_DATA to the folder of the data sets`);
    this.skip();
  });

  const load = async (backend: 'cpu' | 'wasm'): Promise<LoadedBase & { readonly reference: Reference }> => {
    await useBackend(backend);
    const files = await readBaseFiles(folder);
    files.set('tokenizer.json', utf8(tokenizerJson()));
    files.set('tokenizer_config.json', utf8('{"bos_token":"<s>","eos_token":"</s>"}'));
    return { ...(await baseModelFrom(files)), reference: readJson('reference.json') as Reference };
  };

  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[TAL-1] cuts a text as its vocabulary says and predicts as the reference does, on ${backend}`, async () => {
      const { model, tokenizer, reference } = await load(backend);
      const { prompt } = reference;
      const ids = tokenizer.encode(prompt.text, 100);
      assert.deepEqual([...ids], prompt.ids);
      assert.equal(tokenizer.decode(ids), prompt.text);
      tidy(() => {
        const inputIds = tensor2d(ids, [1, ids.length], 'int32');
        const attentionMask = tensor2d(new Int32Array(ids.length).fill(1), [1, ids.length], 'int32');
        const scores = model.languageModelScores(model.encode({ inputIds, attentionMask }));
        const { vocabularySize } = model.description;
        const last = scores.dataSync().subarray((ids.length - 1) * vocabularySize);
        const error = largestError(last, prompt.last_logits);
        assert.ok(error <= 2e-4, `scores of the last token are off by ${error}`);
        const logarithms = logSoftmax(scores).dataSync();
        let surprise = 0;
        for (let position = 1; position < ids.length; position++)
          surprise -= logarithms[(position - 1) * vocabularySize + ids[position]!]! / (ids.length - 1);
        assert.ok(Math.abs(surprise - prompt.mean_nll_per_token) < 1e-4, `${surprise} nats per token`);
      });
      model.dispose();
    });
  }

  it('[TAL-2] writes the story of the reference, all 200 tokens of it, as text that comes in pieces', async () => {
    const before = memory().numTensors;
    const { model, tokenizer, reference } = await load('wasm');
    const { ids: expected, text } = reference.greedy_from_bos;
    const stream = createTextStream(tokenizer.decode);
    let streamed = '';
    const { ids, ending } = await generate({
      model,
      prompt: tokenizer.frame.before,
      lengthMax: expected.length - 1,
      sampling: { temperature: 0 },
      random: seededRandom(0),
      stopIds: new Set([tokenizer.endId!]),
      onToken: (id) => {
        streamed += stream.push(id);
      },
    });
    assert.deepEqual([1, ...ids], expected);
    assert.equal(ending, 'length');
    assert.equal(tokenizer.decode(ids), text);
    assert.equal(streamed + stream.end(), text);
    model.dispose();
    assert.equal(memory().numTensors, before);
  });
});
