/** Folders `hyperformer*`: generated adapters, what they make of an input, and the gradients of all that generates them. */
import { join } from 'node:path';
import {
  add,
  matMul,
  mean,
  mul,
  slice,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tensor,
  tidy,
  valueAndGrads,
} from '@tensorflow/tfjs-core';
import {
  applyGenerated,
  type GeneratedAdapter,
  generateAdapter,
  type HypernetworkSizes,
  type NamedTensors,
  sourceOf,
} from '../../shared/adapters/hypernetwork.ts';
import type { CaseKind, Findings } from './case.ts';
import { entryOf, floatsOf, readObject, readTensors } from './fixture-files.ts';

const blocks = ['self_attention', 'feed_forward'] as const;
type Block = (typeof blocks)[number];

/** The kind of `hyperformer` and `hyperformer_pp`. */
export const hyperformerCases: CaseKind = {
  recognises: ({ name }) => name.startsWith('hyperformer'),
  open: ({ name, path }) => {
    const compute = () => computeCase(path);
    return Promise.resolve([{ name, missing: null, compute, computeAlone: compute }]);
  },
};

/** Our name of a parameter of the reference. */
function nameOf(reference: string): string {
  const part: Readonly<Record<string, readonly [weight: string, bias: string]>> = {
    down_sampler_hyper_net: ['down', 'downBias'],
    up_sampler_hyper_net: ['up', 'upBias'],
    post_layernorm_hypernet: ['gain', 'bias'],
  };
  const kindOf = (kind: string | undefined) => (kind === 'weight' ? 'kernel' : 'bias');
  const generator =
    /^(?:(self_attention|feed_forward)_)?(\w+_hyper_?net)\.(weight|bias)_generator(?:\.0)?\.(weight|bias)$/.exec(
      reference,
    );
  if (generator !== null) {
    const [, block, module, output, kind] = generator;
    const own = part[module!]![output === 'weight' ? 0 : 1];
    return `${block === undefined ? 'generator' : `generator.${block}`}.${own}.${kindOf(kind)}`;
  }
  const source = /^task_hypernet\.task_embeding_generator\.([02])\.(weight|bias)$/.exec(reference);
  if (source !== null) return `source.${source[1] === '0' ? 'first' : 'second'}.${kindOf(source[2])}`;
  const rest: Readonly<Record<string, string>> = {
    'LayerNorm.weight': 'source.norm.gain',
    'LayerNorm.bias': 'source.norm.bias',
    'layer_id_embeddings.weight': 'layers',
    'adapters_block_type.weight': 'positions',
    task_embeddings: 'tasks',
  };
  const found = rest[reference];
  if (found === undefined) throw new Error(`${reference} is no parameter of the hypernetwork`);
  return found;
}

/** Linear maps are transposed, tables of vectors are not. */
function isTransposed(reference: string, rank: number): boolean {
  return rank === 2 && !/embeddings|block_type/.test(reference);
}

async function computeCase(path: string): Promise<Findings> {
  const settings = await readObject(join(path, 'case.json'));
  const expected = await readTensors(join(path, 'expected.safetensors'));
  const saved = await readTensors(join(path, 'adapter.safetensors'));
  const sizes: HypernetworkSizes = {
    hiddenSize: Number(settings.hidden_size),
    width: Number(settings.hidden_size) / Number(settings.reduction_factor),
    embeddingSize: Number(settings.task_embedding_dim),
    projectionHidden: Number(settings.task_hidden_dim),
    projectionSize: Number(settings.projected_task_embedding_dim),
  };
  const read = (file: typeof saved, name: string): Tensor =>
    tensor(floatsOf(file, name), [...entryOf(file, name).shape]);
  const references = [...saved.tensors.keys(), 'task_embeddings'];
  const leaves = references.map((name) => {
    const value = read(name === 'task_embeddings' ? expected : saved, name);
    return isTransposed(name, value.rank) ? value.transpose() : value;
  });
  const x = read(expected, 'x') as Tensor3D;
  const interpolation = read(expected, 'interpolation').as2D(1, -1);
  const layers = Array.from({ length: Number(settings.layers) }, (_, index) => index);

  const outputs = new Map<string, Float32Array>();
  const forward = (...tensors: Tensor[]): Tensor => {
    const parameters = new Map(references.map((name, index) => [nameOf(name), tensors[index]!]));
    const named: NamedTensors = <Kind extends Tensor>(name: string) => parameters.get(name)! as Kind;
    const row = (name: string, index: number): Tensor2D => slice(named<Tensor2D>(name), [index, 0], [1, -1]);
    const tasks: Readonly<Record<string, Tensor2D>> = {
      task0: row('tasks', 0),
      task1: row('tasks', 1),
      mixed: matMul(interpolation, named<Tensor2D>('tasks')),
    };
    const isShared = parameters.has('positions');
    const losses: Tensor[] = [];
    for (const [task, vector] of Object.entries(tasks)) {
      for (const layer of layers) {
        for (const block of blocks) {
          const position = isShared ? [row('positions', positionOf(block))] : [];
          const source = sourceOf(named, vector, [row('layers', layer), ...position]);
          const adapter = generateAdapter(named, isShared ? 'generator' : `generator.${block}`, source, sizes);
          const output = add(x, applyGenerated(x, adapter, 'gelu_new'));
          if (task === 'task0' && layer === 0) keepGenerated(outputs, block, adapter);
          outputs.set(`output.${task}.${layer}.${block}`, output.dataSync() as Float32Array);
          losses.push(mean(mul(output, read(expected, `probe.${task}.${layer}.${block}`))));
        }
      }
    }
    return losses.reduce((left, right) => add(left, right));
  };
  const gradients = tidy(() => {
    const { value, grads } = valueAndGrads((...tensors: Tensor[]) => forward(...tensors).asScalar())(leaves);
    outputs.set('loss', value.dataSync() as Float32Array);
    const found = references.map((name, index) => {
      const gradient = grads[index]!;
      const values = isTransposed(name, gradient.rank) ? gradient.transpose() : gradient;
      return [name, values.dataSync() as Float32Array] as const;
    });
    return { map: new Map(found) } as never;
  }) as { map: ReadonlyMap<string, Float32Array> };
  return { expected, outputs, gradients: gradients.map, inputs: /^(x|task_embeddings|interpolation|probe\..*)$/ };
}

/** The published code counts the feed-forward first. */
function positionOf(block: Block): number {
  return block === 'feed_forward' ? 0 : 1;
}

function keepGenerated(outputs: Map<string, Float32Array>, block: Block, adapter: GeneratedAdapter): void {
  const names: Readonly<Record<keyof GeneratedAdapter, string>> = {
    down: 'down.weight',
    downBias: 'down.bias',
    up: 'up.weight',
    upBias: 'up.bias',
    gain: 'post_norm.weight',
    bias: 'post_norm.bias',
  };
  for (const [part, name] of Object.entries(names))
    outputs.set(`generated.${block}.${name}`, adapter[part as keyof GeneratedAdapter].dataSync() as Float32Array);
}
