/** Compositions of AdapterHub's bottleneck adapters: stack, fusion, batch split, and parallel adapters on a repeated batch. */
import { join } from 'node:path';
import { concat, div, mul, sum, type Tensor, tensor, tile, valueAndGrads } from '@tensorflow/tfjs-core';
import { encodeParallel } from '../../shared/adapters/composition/parallel.ts';
import { type BoundAdapter, parseAdapter } from '../../shared/adapters/registry.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { BaseDescription, BaseModel } from '../../shared/model/base-model.ts';
import { type SafetensorsFile, tensorValues } from '../../shared/model/safetensors.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { Findings, FixtureFolder, ParityCase } from './case.ts';
import { batchOf, entryOf, floatsOf, objectOf, readTensors } from './fixture-files.ts';

const kinds = ['Stack', 'Fuse', 'BatchSplit', 'Parallel'] as const;
type Kind = (typeof kinds)[number];

/** The case of a composition; null for an entry of `cases.json` with one adapter. */
export function compositionCase(
  folder: FixtureFolder,
  caseName: string,
  entry: Readonly<Record<string, unknown>>,
): ParityCase | null {
  const match = /^(\w+)\[(\w+(?:, \w+)+)\]$/.exec(String(entry.active));
  const kind = kinds.find((one) => one === match?.[1]);
  if (match === null || kind === undefined) return null;
  const ids = match[2]!.split(', ');
  const adapters = objectOf(entry.adapters, 'adapters');
  const members = ids.map((id) => ({ id, frozen: false, ...settingsOf(objectOf(adapters[id], `adapters.${id}`)) }));
  return {
    name: `${folder.name}/${caseName}`,
    missing: null,
    compute: (base) => compute(base, { path: folder.path, caseName, kind, members }),
  };
}

/** The members are Pfeiffer's bottleneck. @throws Error for another. */
function settingsOf(settings: Readonly<Record<string, unknown>>): Plan['adapter'] {
  const isKnown =
    settings.mh_adapter === false && settings.is_parallel === false && settings.original_ln_before === true;
  if (!isKnown || settings.scaling !== 1) throw new Error(`a member with settings ${JSON.stringify(settings)}`);
  const { reduction_factor: reductionFactor, non_linearity: activation, leave_out: leaveOut } = settings;
  return { method: 'bottleneck', reductionFactor, activation, leaveOut };
}

interface Composition {
  readonly path: string;
  readonly caseName: string;
  readonly kind: Kind;
  readonly members: readonly Plan['adapter'][];
}

async function compute(base: BaseModel, { path, caseName, kind, members }: Composition): Promise<Findings> {
  const batch = batchOf(await readTensors(join(path, 'expected', 'base.safetensors')));
  const expected = await readTensors(join(path, 'expected', `${caseName}.safetensors`));
  const saved = await readTensors(join(path, 'adapters', `${caseName}.safetensors`));
  const adapter = bind(kind, members, base.description);
  const mappings = [...saved.tensors.keys()].map((reference) =>
    mappingOf(
      reference,
      members.map(({ id }) => String(id)),
    ),
  );
  const leaves = mappings.map(({ reference }) => leafOf(saved, reference));
  const copies = kind === 'Parallel' ? members.length : 1;
  const probe = tensor(floatsOf(expected, 'probe'), [...entryOf(expected, 'probe').shape]);
  const mask = tile(batch.attentionMask.toFloat().expandDims(2), [copies, 1, 1]);
  const forward = (tensors: readonly Tensor[]): Tensor => {
    const parameters = new Map(mappings.map(({ name }, index) => [name, tensors[index]!]));
    for (const { name, shape } of adapter.tensors) {
      if (parameters.get(name)?.shape.join() !== shape.join())
        throw new Error(
          `${name} must be [${shape.join()}], the reference gives [${parameters.get(name)?.shape.join()}]`,
        );
    }
    if (parameters.size !== adapter.tensors.length)
      throw new Error(`the reference gives ${parameters.size} tensors, the layout has ${adapter.tensors.length}`);
    const context = { parameters, training: false, random: seededRandom(0) };
    if (kind !== 'Parallel') return base.encode(batch, adapter.hooks(context));
    const each = members.map((member) => {
      const id = String(member.id);
      const own = [...parameters].filter(([name]) => name.startsWith(`${id}.`));
      const named = new Map(own.map(([name, value]) => [name.slice(id.length + 1), value]));
      return parseAdapter(withoutId(member), base.description).hooks({ ...context, parameters: named });
    });
    return concat(encodeParallel(base, batch, each), 0);
  };
  // The reference's loss is sum(hidden * probe * mask) / sum(mask).
  const lossOf = (...tensors: Tensor[]) => div(sum(mul(mul(forward(tensors), probe), mask)), sum(mask)).asScalar();
  const { value, grads } = valueAndGrads(lossOf)(leaves);
  const gradients = new Map<string, Float32Array>();
  for (const [index, { reference }] of mappings.entries()) gradients.set(reference, await valuesOf(grads[index]!));
  const output = (await forward(leaves).data()) as Float32Array;
  const loss = (await value.data()) as Float32Array;
  return {
    expected,
    outputs: new Map([
      ['last_hidden_state', output],
      ['loss', loss],
    ]),
    gradients,
  };
}

function withoutId({ id: _id, frozen: _frozen, ...settings }: Plan['adapter']): Plan['adapter'] {
  return settings;
}

function bind(kind: Kind, members: readonly Plan['adapter'][], base: BaseDescription): BoundAdapter {
  switch (kind) {
    case 'Fuse':
      return parseAdapter({ method: 'fuse', members }, base);
    case 'BatchSplit':
      return parseAdapter({ method: 'batch-split', members, sizes: [1, 3] }, base);
    case 'Stack':
    case 'Parallel':
      return parseAdapter({ method: 'stack', members }, base);
    default:
      return kind satisfies never;
  }
}

/** The reference's parameter and ours; matrices are transposed. */
function mappingOf(reference: string, ids: readonly string[]): { readonly reference: string; readonly name: string } {
  const [, layer, place, rest] =
    /(?:layer|h)\.(\d+)\.([\w.]+?)\.adapter(?:s|_fusion_layer)\.(.+)$/.exec(reference) ?? [];
  const isFusion = reference.includes('adapter_fusion_layer');
  const site = `layers.${layer}.${place?.startsWith('attention') ? 'attention' : 'feedForward'}`;
  const match = /^([\w,]+)\.(.+)\.(weight|bias)$/.exec(rest ?? '');
  if (match === null) throw new Error(`${reference} is no parameter of a composition`);
  const [, owner, part, type] = match;
  const kind = type === 'weight' ? 'kernel' : 'bias';
  if (isFusion && owner === ids.join()) return { reference, name: `fusion.${site}.${part}.${kind}` };
  if (!ids.includes(owner!)) throw new Error(`${reference} belongs to no member`);
  return { reference, name: `${owner}.${site}.bottleneck.${part!.startsWith('adapter_down') ? 'down' : 'up'}.${kind}` };
}

function leafOf(saved: SafetensorsFile, reference: string): Tensor {
  const entry = entryOf(saved, reference);
  const whole = tensor(tensorValues(entry), [...entry.shape]);
  return entry.shape.length === 2 ? whole.transpose() : whole;
}

async function valuesOf(gradient: Tensor): Promise<Float32Array> {
  return (await (gradient.rank === 2 ? gradient.transpose() : gradient).data()) as Float32Array;
}
