/**
 * An adapter and its base as one checkpoint: every linear map that the adapter changes takes its merged values, computed in float64 and rounded
 * once (Hu 2021, section 4.1: W + s B A); all else stays as it is. Maps are merged one at a time, so memory holds one of them and not the model.
 */
import { assert } from '../../core/assert.ts';
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription, LinearTarget } from '../../model/base-model.ts';
import type { LinearWeights } from '../method.ts';
import type { BoundAdapter } from '../registry.ts';
import { transpose } from './matrices.ts';
import { modulesOf } from './module-paths.ts';

/** Values of a tensor of the base by its full name, as the file holds them; null where there is none. */
export type TensorValues = (name: string) => Float32Array | null;

/** What {@link mergerOf} needs. */
export interface MergeRequest {
  readonly base: BaseDescription;
  readonly adapter: BoundAdapter;
  /** The adapter's tensors by name. */
  readonly parameters: ReadonlyMap<string, Float32Array>;
  readonly tensor: TensorValues;
  /** Name in the description of the base of a tensor with a full name: without prefix, in today's spelling. */
  readonly currentName: (name: string) => string | undefined;
}

/** Merged values of the tensor with a full name, in the order of the file; null for one that stays as it is. */
export type Merger = (name: string) => Float32Array | null;

/**
 * Refuses an adapter that is more than a change of linear maps.
 * @throws UsageError `not-mergeable` with the reason and the nearest thing that works.
 */
export function requireMergeable({ merge, method, tensors }: BoundAdapter): NonNullable<BoundAdapter['merge']> {
  if (merge !== undefined) return merge;
  // A head alone, or changes of the base's own tensors, which are added below.
  if (tensors.length === 0 || method === 'full') return () => undefined;
  throw new UsageError(
    'not-mergeable',
    `an adapter of the method ${method} computes what no weight of the base can: merging is for methods that change linear maps, such as lora; ` +
      'serve it beside its base, or write it with adapters export --format adapterhub or tributary',
  );
}

/** Merges one map after the other. @throws UsageError `not-mergeable`. */
export function mergerOf({ base, adapter, parameters, tensor, currentName }: MergeRequest): Merger {
  const change = requireMergeable(adapter);
  if (adapter.method === 'full') return (name) => added(tensor(name), parameters.get(`base.${currentName(name)}`));
  const { blocks, model, storesInOut } = modulesOf(base);
  const pattern = new RegExp(`^((?:${model}\\.)?${blocks}\\.(\\d+)\\.(.+))\\.(weight|bias)$`);
  const wholeTargets = Object.entries(base.linearTargets).filter(
    ([target]) => base.linearTargets.qkv === undefined || !['q', 'k', 'v'].includes(target),
  ) as [LinearTarget, { readonly moduleName: string; readonly inSize: number; readonly outSize: number }][];
  // Weight and bias of a map follow one another in a file.
  let latest: { readonly path: string; readonly map: LinearWeights | null } | null = null;
  const mergedAt = (path: string, layerIndex: number, target: LinearTarget): LinearWeights | null => {
    if (latest?.path === path) return latest.map;
    latest = null;
    const { inSize, outSize } = base.linearTargets[target]!;
    const stored = tensor(`${path}.weight`);
    assert(stored !== null, `the base has no ${path}.weight`);
    const before = { kernel: storesInOut ? stored : transpose(stored, outSize), bias: tensor(`${path}.bias`) };
    const after = mergeAll({ layerIndex, target, inSize, outSize }, before);
    assert(after === before || (after.bias === null) === (before.bias === null), `${path} keeps what it has of a bias`);
    latest = { path, map: after === before ? null : after };
    return latest.map;
  };
  const mergeAll = (
    {
      layerIndex,
      target,
      inSize,
      outSize,
    }: {
      readonly layerIndex: number;
      readonly target: LinearTarget;
      readonly inSize: number;
      readonly outSize: number;
    },
    before: LinearWeights,
  ): LinearWeights => {
    let map = change({ layerIndex, target }, before, parameters) ?? before;
    if (target !== 'qkv') return map;
    let start = 0;
    for (const part of ['q', 'k', 'v'] as const) {
      const size = base.linearTargets[part]!.outSize;
      const columns = { inSize, outSize, start, size };
      const cut = { kernel: columnsOf(map.kernel, columns), bias: map.bias?.slice(start, start + size) ?? null };
      const merged = change({ layerIndex, target: part }, cut, parameters);
      if (merged !== undefined) map = withColumns(map, merged, columns);
      start += size;
    }
    return map;
  };
  return (name) => {
    const [, path, layer, module, part] = pattern.exec(name) ?? [];
    const found = wholeTargets.find(([, { moduleName }]) => moduleName === module);
    if (path === undefined || found === undefined) return null;
    const map = mergedAt(path, Number(layer), found[0]);
    if (map === null) return null;
    if (part === 'bias') return sameValues(map.bias, tensor(name)) ? null : map.bias;
    return storesInOut ? map.kernel : transpose(map.kernel, found[1].inSize);
  };
}

function sameValues(left: Float32Array | null, right: Float32Array | null): boolean {
  return left !== null && right !== null && left.every((value, index) => value === right[index]);
}

function added(values: Float32Array | null, change: Float32Array | undefined): Float32Array | null {
  return values === null || change === undefined ? null : values.map((value, index) => value + change[index]!);
}

interface Columns {
  readonly inSize: number;
  readonly outSize: number;
  readonly start: number;
  readonly size: number;
}

function columnsOf(kernel: Float32Array, { inSize, outSize, start, size }: Columns): Float32Array {
  const part = new Float32Array(inSize * size);
  for (let row = 0; row < inSize; row++)
    part.set(kernel.subarray(row * outSize + start, row * outSize + start + size), row * size);
  return part;
}

function withColumns(
  map: LinearWeights,
  part: LinearWeights,
  { inSize, outSize, start, size }: Columns,
): LinearWeights {
  const kernel = map.kernel.slice();
  for (let row = 0; row < inSize; row++)
    kernel.set(part.kernel.subarray(row * size, (row + 1) * size), row * outSize + start);
  if (map.bias === null || part.bias === null) return { kernel, bias: map.bias };
  const bias = map.bias.slice();
  bias.set(part.bias, start);
  return { kernel, bias };
}
