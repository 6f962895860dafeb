/** Heads of ours as those of Transformers: what the published model computes with the written tensors is what ours computes. */
import { strict as assert } from 'node:assert';
import type { ForeignTensor } from '../../../../shared/adapters/formats/foreign-tensors.ts';
import {
  type HeadHost,
  type HeadValues,
  publishedHead,
  readHead,
  writeHead,
} from '../../../../shared/adapters/formats/heads.ts';
import { seededRandom } from '../../../../shared/core/random.ts';

const hiddenSize = 24;
const labelCount = 3;
const random = seededRandom(11);
const normals = (count: number, deviation = 1): Float32Array =>
  Float32Array.from({ length: count }, () => deviation * random.normal());

/** Gain and offset of the last norm, and states that it gives. */
const gain = Float32Array.from({ length: hiddenSize }, () => 0.5 + random.uniform());
const offset = normals(hiddenSize, 0.3);
const states = Array.from({ length: 5 }, () => {
  const raw = normals(hiddenSize);
  const mean = raw.reduce((sum, value) => sum + value, 0) / hiddenSize;
  const variance = raw.reduce((sum, value) => sum + (value - mean) ** 2, 0) / hiddenSize;
  return raw.map((value, unit) => ((value - mean) / Math.sqrt(variance + 1e-5)) * gain[unit]! + offset[unit]!);
});

const host = (family: string): HeadHost => ({
  family,
  hiddenSize,
  layerCount: 2,
  baseTensor: (name) => {
    if (/^(ln_f|transformer\.layer\.1\.output_layer_norm)\.weight$/.test(name)) return gain;
    if (/^(ln_f|transformer\.layer\.1\.output_layer_norm)\.bias$/.test(name)) return offset;
    throw new Error(`no ${name}`);
  },
});

const linear: HeadValues = { hidden: null, kernel: normals(hiddenSize * labelCount, 0.3), bias: normals(labelCount) };
const dense = (activation: 'tanh' | 'relu'): HeadValues => ({
  ...linear,
  hidden: { kernel: normals(hiddenSize ** 2, 0.2), bias: normals(hiddenSize, 0.1), activation },
});

/** y = W x + c in float32 results, W `[out, in]`. */
function apply({ shape, values }: ForeignTensor, bias: Float32Array | undefined, state: Float32Array): Float32Array {
  const [outSize, inSize] = shape as [number, number];
  return Float32Array.from({ length: outSize }, (_, row) => {
    let sum = bias?.[row] ?? 0;
    for (let unit = 0; unit < inSize; unit++) sum += values[row * inSize + unit]! * state[unit]!;
    return sum;
  });
}

/** What the classes of Transformers compute of one state. */
function publishedScores(
  tensors: ReadonlyMap<string, ForeignTensor>,
  family: string,
  state: Float32Array,
): Float32Array {
  const map = (path: string, input: Float32Array) =>
    apply(tensors.get(`${path}.weight`)!, tensors.get(`${path}.bias`)?.values, input);
  switch (family) {
    case 'bert':
      return map('classifier', map('bert.pooler.dense', state).map(Math.tanh));
    case 'roberta':
      return map('classifier.out_proj', map('classifier.dense', state).map(Math.tanh));
    case 'distilbert':
      return map(
        'classifier',
        map('pre_classifier', state).map((value) => Math.max(0, value)),
      );
    default:
      assert.ok(!tensors.has('score.bias'));
      return map('score', state);
  }
}

function ownScores({ hidden, kernel, bias }: HeadValues, state: Float32Array): Float32Array {
  const map = (weights: Float32Array, own: Float32Array | null, input: Float32Array) => {
    const outSize = weights.length / input.length;
    return Float32Array.from({ length: outSize }, (_, column) => {
      let sum = own?.[column] ?? 0;
      for (let unit = 0; unit < input.length; unit++) sum += weights[unit * outSize + column]! * input[unit]!;
      return sum;
    });
  };
  if (hidden === null) return map(kernel, bias, state);
  const inner = map(hidden.kernel, hidden.bias, state);
  return map(kernel, bias, inner.map(hidden.activation === 'tanh' ? Math.tanh : (value) => Math.max(0, value)));
}

function errorOf(head: HeadValues, family: string): number {
  const tensors = writeHead(head, 'text', host(family));
  return Math.max(
    ...states.flatMap((state) => {
      const [found, expected] = [publishedScores(tensors, family, state), ownScores(head, state)];
      return [...found].map((value, label) => Math.abs(value - expected[label]!));
    }),
  );
}

describe('published heads', () => {
  for (const family of ['bert', 'roberta', 'distilbert', 'gpt2']) {
    it(`[HEAD-1:${family}] a linear head with a bias scores the same in the published classifier`, () => {
      assert.ok(errorOf(linear, family) < 1e-5, String(errorOf(linear, family)));
    });
  }

  for (const [family, activation] of [
    ['bert', 'tanh'],
    ['roberta', 'tanh'],
    ['distilbert', 'relu'],
  ] as const) {
    it(`[HEAD-2:${family}] a head of the published form comes back bit for bit`, () => {
      const head = dense(activation);
      assert.ok(errorOf(head, family) < 1e-6);
      assert.deepEqual(readHead(writeHead(head, 'text', host(family)), 'text', host(family)), head);
    });
  }

  for (const family of ['bert', 'roberta']) {
    it(`[HEAD-3:${family}] a linear head comes back bit for bit`, () => {
      assert.deepEqual(readHead(writeHead(linear, 'text', host(family)), 'text', host(family)), linear);
    });
  }

  it('[HEAD-3:distilbert] a linear head comes back with its kernel, its bias but for rounding', () => {
    const { hidden, kernel, bias } = readHead(
      writeHead(linear, 'text', host('distilbert')),
      'text',
      host('distilbert'),
    );
    assert.equal(hidden, null);
    assert.deepEqual(kernel, linear.kernel);
    assert.ok(bias!.every((value, label) => Math.abs(value - linear.bias![label]!) < 1e-5));
  });

  for (const family of ['bert', 'roberta', 'distilbert', 'gpt2', 'llama', 'qwen2', 'qwen3']) {
    it(`[HEAD-4:${family}] a linear head over tokens is the published one`, () => {
      const tensors = writeHead(linear, 'tokens', host(family));
      const { output } = publishedHead(family, 'tokens');
      assert.deepEqual([...tensors.keys()].sort(), [`${output}.bias`, `${output}.weight`]);
      assert.deepEqual(readHead(tensors, 'tokens', host(family)), linear);
    });
  }

  it('[HEAD-5] what has no published form is refused with what can be done', () => {
    const refused = (head: HeadValues, family: string, message: RegExp) =>
      assert.throws(() => writeHead(head, 'text', host(family)), { code: 'not-exportable', message });
    refused(
      linear,
      'llama',
      /it has a bias, that of llama has none; train with task\.head\.bias false, or .*--lora-only/,
    );
    refused(
      dense('tanh'),
      'distilbert',
      /ends in tanh, that of distilbert in relu; train with task\.head\.hidden relu/,
    );
    refused(dense('tanh'), 'gpt2', /has a dense map, which this family has not; train with a linear head/);
    assert.equal(writeHead({ ...linear, bias: null }, 'text', host('llama')).size, 1);
    assert.equal(writeHead({ ...linear, bias: new Float32Array(labelCount) }, 'text', host('llama')).size, 1);
  });

  it('[HEAD-6] a norm that fixes no linear form of the state carries no bias', () => {
    const flat: HeadHost = {
      ...host('gpt2'),
      baseTensor: (name) => (name.endsWith('weight') ? gain : new Float32Array(hiddenSize)),
    };
    assert.throws(() => writeHead(linear, 'text', flat), { code: 'not-exportable', message: /does not carry one/ });
  });
});
