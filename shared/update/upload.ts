/**
 * From what a client trained to what it uploads: scales folded into what they scale, deltas of used parts times their counts, and of low-rank
 * pairs what the plan's rule asks for.
 */
import { assert } from '../core/assert.ts';
import { FederationError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import type { CountRange, Exchange, ExchangedPair } from './exchange.ts';
import { siteWeightName } from './federated-layout.ts';
import type { AdapterLayout } from './layout.ts';
import { addProduct, sketchMatrix, transposed } from './sketch.ts';

/** What an upload is made of. */
export interface UploadOptions {
  /** Where training began, `[trained dim]`. */
  readonly start: Float32Array;
  /** After minus before, `[trained dim]`. */
  readonly delta: Float32Array;
  /** By tensor of class `count`: how much this client used each part, per example. */
  readonly counts: ReadonlyMap<string, Float32Array>;
  readonly roundHash: Digest;
  /** The weight from 0 to 1 that this client gives itself, where the plan lets it. */
  readonly siteWeight?: number | undefined;
}

/** The values `[uploaded dim]` that leave the client; a plain exchange hands `delta` on. */
export function uploadOf(exchange: Exchange, options: UploadOptions): Float32Array {
  const { trained, uploaded, stepDim, pairs, isPlain } = exchange;
  assert(options.delta.length === trained.dim, `a delta has the ${trained.dim} values of what is trained`);
  if (isPlain) return options.delta;
  const delta = foldScales(trained, options);
  const sources = new Map(trained.tensors.map((tensor) => [tensor.name, tensor]));
  const upload = new Float32Array(uploaded.dim);
  const counts = countsWith(options);
  for (const tensor of uploaded.tensors) {
    const { name, offset, size, aggregationClass } = tensor;
    if (aggregationClass === 'count') {
      upload.set(countOf(counts, name, size), offset);
    } else if (offset < stepDim) {
      const source = sources.get(name);
      assert(source?.size === size, `${name} is trained`);
      const values = upload.subarray(offset, offset + size);
      values.set(delta.subarray(source.offset, source.offset + size));
      if (aggregationClass === 'count-weighted') {
        const { countName } = tensor;
        assert(countName !== undefined, `${name} names its counts`);
        const uses = counts.get(countName);
        assert(uses !== undefined, `counts of ${countName} belong to the update`);
        weighByCounts(values, tensor, uses, (value, count) => value * count);
      }
    }
  }
  for (const pair of pairs) {
    // Factors that are averaged as they are lie in the first part already.
    if ((pair.uploaded[0]?.offset ?? 0) >= stepDim) uploadPair(exchange, pair, options, upload);
  }
  return upload;
}

/**
 * Refuses counts that a round does not take, before anything leaves the client: a coordinator refuses them, and masks would cut them, and with
 * them the mean that they weigh. @throws FederationError `bad-counts`.
 */
export function checkCounts(upload: Float32Array, ranges: readonly CountRange[]): void {
  for (const { name, offset, size, max } of ranges)
    for (let place = 0; place < size; place++) {
      const found = upload[offset + place]!;
      if (found >= 0 && found <= max) continue;
      const unit = max > 1 ? 'uses per example' : 'shares';
      const next =
        'nothing was sent; a learner counts per example, and masked rounds carry more with a larger coordBound';
      throw new FederationError(
        'bad-counts',
        `the counts of ${name} do not fit the round: from 0 to ${max} ${unit} were expected, found ${found} at place ${place} of ${size}; ${next}`,
      );
    }
}

/** Counts by name, times the weight that the client gives itself, and that weight. */
function countsWith({ counts, siteWeight }: UploadOptions): ReadonlyMap<string, Float32Array> {
  if (siteWeight === undefined) return counts;
  const weighed = [...counts].map(([name, uses]) => [name, uses.map((use) => use * siteWeight)] as const);
  return new Map([...weighed, [siteWeightName, Float32Array.of(siteWeight)]]);
}

function countOf(counts: ReadonlyMap<string, Float32Array>, name: string, size: number): Float32Array {
  const values = counts.get(name);
  assert(values?.length === size, `an update has ${size} counts of ${name}, found ${values?.length ?? 'none'}`);
  assert(
    values.every((value) => value >= 0 && Number.isFinite(value)),
    `counts of ${name} are not negative`,
  );
  return values;
}

/** Replaces every value of a `count-weighted` tensor by what `combine` makes of it and its count. */
export function weighByCounts(
  values: Float32Array | Float64Array,
  { shape, countIndex, countAxis = 'first' }: AdapterLayout['tensors'][number],
  counts: ArrayLike<number>,
  combine: (value: number, count: number) => number,
): void {
  const sliceSize = values.length / (shape[0] ?? 1);
  const last = shape.at(-1) ?? 1;
  for (let index = 0; index < values.length; index++) {
    const place = countIndex ?? (countAxis === 'first' ? Math.floor(index / sliceSize) : index % last);
    values[index] = combine(values[index]!, counts[place]!);
  }
}

/** The delta once `folded` scales are multiplied into what they scale; they are then what they were, so that the adapter computes the same. */
function foldScales(layout: AdapterLayout, { start, delta }: UploadOptions): Float32Array {
  const scales = layout.tensors.filter(({ aggregationClass }) => aggregationClass === 'folded');
  if (scales.length === 0) return delta;
  const folded = delta.slice();
  for (const scale of scales) {
    const values = start.subarray(scale.offset, scale.offset + scale.size);
    assert(
      values.every((value) => value !== 0),
      `${scale.name} begins above 0, else nothing takes it in`,
    );
    for (const name of scale.foldInto ?? []) {
      const target = layout.tensors.find((tensor) => tensor.name === name);
      assert(target !== undefined, `${scale.name} is folded into ${name}`);
      for (let index = 0; index < target.size; index++) {
        const place = target.offset + index;
        const at = scale.offset + (index % scale.size);
        const ratio = (start[at]! + delta[at]!) / start[at]!;
        folded[place] = ratio * (start[place]! + folded[place]!) - start[place]!;
      }
    }
    folded.fill(0, scale.offset, scale.offset + scale.size);
  }
  return folded;
}

/** What the rule asks for of one pair; the change of the map is B δA + δB A₀, with B after training and A₀ before. */
function uploadPair({ settings }: Exchange, pair: ExchangedPair, options: UploadOptions, upload: Float32Array): void {
  const { start, delta, roundHash } = options;
  const { a, b, rank, inSize, outSize } = pair.trained;
  const part = (values: Float32Array, { offset, size }: typeof a): Float32Array =>
    values.subarray(offset, offset + size);
  const [aStart, aDelta, bDelta] = [part(start, a), part(delta, a), part(delta, b)];
  const bAfter = part(start, b).map((value, index) => value + bDelta[index]!);
  const [first, second] = pair.uploaded;
  assert(first !== undefined, 'a combined pair uploads something');
  switch (settings.lowRank) {
    case 'svd':
      assert(second !== undefined, 'both factors are uploaded');
      upload.set(aDelta, first.offset);
      upload.set(bDelta, second.offset);
      break;
    case 'stack':
      assert(second !== undefined, 'both factors are uploaded');
      upload.set(
        aStart.map((value, index) => value + aDelta[index]!),
        first.offset,
      );
      upload.set(bAfter, second.offset);
      break;
    case 'dense': {
      const sizes = { rows: outSize, inner: rank, columns: inSize };
      const change = addProduct(new Float64Array(first.size), bAfter, aDelta, sizes);
      upload.set(addProduct(change, bDelta, aStart, sizes), first.offset);
      break;
    }
    case 'sketch': {
      assert(second !== undefined, 'both sketches are uploaded');
      const [outer, inner] = [first.shape[1]!, second.shape[0]!];
      const signs = { roundHash, pairName: pair.name };
      const omega = sketchMatrix({ ...signs, side: 'outer' }, inSize, outer);
      const psi = transposed(sketchMatrix({ ...signs, side: 'inner' }, outSize, inner), outSize, inner);
      const narrow = (factor: Float32Array) =>
        addProduct(new Float64Array(rank * outer), factor, omega, { rows: rank, inner: inSize, columns: outer });
      const low = (factor: Float32Array) =>
        addProduct(new Float64Array(inner * rank), psi, factor, { rows: inner, inner: outSize, columns: rank });
      const left = { rows: outSize, inner: rank, columns: outer };
      const right = { rows: inner, inner: rank, columns: inSize };
      const y = addProduct(new Float64Array(first.size), bAfter, narrow(aDelta), left);
      upload.set(addProduct(y, bDelta, narrow(aStart), left), first.offset);
      const z = addProduct(new Float64Array(second.size), low(bAfter), aDelta, right);
      upload.set(addProduct(z, low(bDelta), aStart, right), second.offset);
      break;
    }
    default:
      assert(false, `the rule ${settings.lowRank} uploads factors as they are`);
  }
}
