/**
 * Scores of texts for many adapters on one frozen base (Sheng 2023, S-LoRA): texts of all of them go through the base in one pass, each under
 * its own adapter. Adapters of one form, such as LoRA of one rank, act in one product (`stacked-products.ts`); others that act at linear maps or
 * at the ends of sublayers act one after the other on their rows of the pass (`batch-split.ts`); what changes a text otherwise (prompts,
 * prefixes, embeddings, several results side by side) passes alone. All are equal to each adapter by itself, up to rounding.
 */
import {
  reshape,
  slice,
  split,
  stack,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor1d,
  tensor2d,
  tidy,
} from '@tensorflow/tfjs-core';
import type { AdapterDocument } from '../adapters/adapter-document.ts';
import { batchSplitHooks } from '../adapters/composition/batch-split.ts';
import { actsOnlyBy } from '../adapters/composition/members.ts';
import type { DocumentHooks } from '../adapters/document-hooks.ts';
import { adapterOnBase } from '../adapters/document-on-base.ts';
import type { BoundAdapter } from '../adapters/registry.ts';
import type { AdapterHooks } from '../adapters/sublayer-change.ts';
import { seededRandom } from '../core/random.ts';
import { batchOf } from '../data/batches.ts';
import type { EncodedExample } from '../data/encode.ts';
import type { LoadedBase } from '../model/load.ts';
import { nameTensors, splitFlat } from './parameters.ts';
import { createTaskModel, maskOf, type Parameters, type TaskModel } from './task-model.ts';

/** An adapter with its values on the back end. */
export interface Resident {
  readonly model: TaskModel;
  readonly adapter: BoundAdapter;
  /** Its parameters `[dim]`, in the order of the layout. */
  readonly values: Tensor1D;
  /** How it shares a pass. */
  readonly sharing: 'stack' | 'split' | 'alone';
  /** The same for adapters of one form. */
  readonly form: string;
  /** How many of its values are the adapter's; those of its head follow. */
  readonly adapterDim: number;
  dispose(): void;
}

/** Puts the adapter of a document on the back end. @throws as `adapterOnBase` and `createTaskModel` do. */
export function residentOf(document: AdapterDocument, { model: base, tokenizer }: LoadedBase): Resident {
  const adapter = adapterOnBase(document, base.description);
  const model = createTaskModel({ base, adapter, task: document.task, tokenizer });
  const values = tensor1d(document.parameters);
  return {
    model,
    adapter,
    values,
    sharing: sharingOf(adapter, model),
    form: JSON.stringify(adapter.configuration),
    adapterDim: adapter.tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0),
    dispose: () => values.dispose(),
  };
}

function sharingOf(adapter: BoundAdapter, { adapterTasks }: TaskModel): Resident['sharing'] {
  if (adapter.stacks === true) return 'stack';
  const hooks = adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(0) });
  const isPlain = (adapter.virtualTokens ?? 0) === 0 && (hooks.copies ?? 1) === 1 && (hooks.positionStart ?? 0) === 0;
  return isPlain && adapterTasks.length === 0 && actsOnlyBy(hooks, ['linear', 'sublayer']) ? 'split' : 'alone';
}

/** The hooks of an adapter for passes of its own, such as those that write a text; the caller disposes them. */
export function residentHooks({ adapter, model, values }: Resident): DocumentHooks {
  const tensors = splitFlat(values, model.layout);
  const parameters = nameTensors(tensors, model.layout);
  return {
    hooksOf: () => adapter.hooks({ parameters, training: false, random: seededRandom(0) }),
    dispose: () => {
      for (const tensor of tensors) tensor.dispose();
    },
  };
}

/** A text under an adapter. */
export interface MixedRow {
  readonly resident: Resident;
  readonly example: EncodedExample;
  /** For an adapter that serves several tasks: which. */
  readonly task?: string | undefined;
}

/** Tokens that pass together, padding included: more no longer fit the processor's cache, which costs more than one pass saves. */
const tokensTogether = 2048;
/** Values of adapters side by side in one pass; beyond, adapters act one after the other. */
const stackedValuesMax = 2 ** 24;

/** Of every row the scores of each of its scored states, in their order. */
export async function scoreMixed(
  { model: base, tokenizer }: Pick<LoadedBase, 'model' | 'tokenizer'>,
  rows: readonly MixedRow[],
): Promise<readonly (readonly Float32Array[])[]> {
  const results: (readonly Float32Array[])[] = [];
  const together = rows.flatMap(({ resident: { sharing } }, row) => (sharing === 'alone' ? [] : [row]));
  for (const batch of batchesOf(together, rows))
    await scorePass(base, tokenizer.padId, batchMembers(batch, rows), results);
  for (const own of Map.groupBy(
    [...rows.keys()].filter((row) => rows[row]!.resident.sharing === 'alone'),
    (row) => rows[row]!.resident,
  ).values())
    for (const same of Map.groupBy(own, (row) => rows[row]!.task).values())
      for (const batch of batchesOf(same, rows)) await scoreAlone(batch, rows, results);
  return results;
}

/** Rows of similar length in as many batches as their tokens need. */
function batchesOf(places: readonly number[], rows: readonly MixedRow[]): number[][] {
  const length = (place: number): number => rows[place]!.example.ids.length;
  const batches: number[][] = [];
  let batch: number[] = [];
  for (const place of [...places].sort((left, right) => length(left) - length(right))) {
    if (batch.length > 0 && (batch.length + 1) * length(place) > tokensTogether) {
      batches.push(batch);
      batch = [];
    }
    batch.push(place);
  }
  return batch.length > 0 ? [...batches, batch] : batches;
}

/** The rows of one adapter in a pass, by their places among all. */
interface Share {
  readonly resident: Resident;
  readonly places: readonly number[];
  readonly examples: readonly EncodedExample[];
}

/** What acts as one in a pass: an adapter, or several of one form side by side. */
type Acting = readonly Share[];

function batchMembers(batch: readonly number[], rows: readonly MixedRow[]): Acting[] {
  const shares = [...Map.groupBy(batch, (place) => rows[place]!.resident)].map(
    ([resident, places]): Share => ({ resident, places, examples: places.map((place) => rows[place]!.example) }),
  );
  const forms = Map.groupBy(shares, ({ resident: { sharing, form, model, values } }) =>
    // Whatever does not stack is a form of its own.
    sharing === 'stack' ? form : `${values.id} ${model.layout.dim}`,
  );
  return [...forms.values()].flatMap((group) => {
    const stretch = stretchOf(group);
    const copies = group.reduce((sum, { places }) => sum + places.length / stretch, 0);
    return copies * group[0]!.resident.adapterDim <= stackedValuesMax ? [group] : group.map((share) => [share]);
  });
}

/** The longest stretch of rows of which every adapter has a whole number: what a stacked product is over. */
function stretchOf(group: Acting): number {
  const common = (left: number, right: number): number => (right === 0 ? left : common(right, left % right));
  return group.reduce((stretch, { places }) => common(stretch, places.length), 0);
}

async function scorePass(
  base: LoadedBase['model'],
  padId: number,
  members: readonly Acting[],
  results: (readonly Float32Array[])[],
): Promise<void> {
  const shares = members.flat();
  const arranged = shares.map(({ resident, examples }) => resident.model.arrange(examples, () => seededRandom(0)));
  const scores = tidy(() => {
    const { positionsMax } = base.description;
    const batch = batchOf(
      shares.flatMap(({ examples }) => examples),
      padId,
      positionsMax,
    );
    const { rowCount, sequenceLength, lengths } = batch;
    const shape: [number, number] = [rowCount, sequenceLength];
    const attentionMask = tensor2d(maskOf(batch), shape, 'int32');
    const counts = members.map((acting) => acting.reduce((sum, { places }) => sum + places.length, 0));
    let start = 0;
    const hooks = members.map((acting, index) => {
      const mask: Tensor2D = slice(attentionMask, [start, 0], [counts[index]!, sequenceLength]);
      start += counts[index]!;
      return hooksOf(acting, mask);
    });
    const owners = counts.flatMap((count, index) => Array.from({ length: count }, () => index));
    const whole = hooks.length === 1 ? hooks[0]! : batchSplitHooks(hooks, owners);
    const inputIds = tensor2d(batch.ids, shape, 'int32');
    const reads = readsOf(shares, lengths);
    const hidden = base.encode({ inputIds, attentionMask, ...(reads && { reads }) }, whole);
    let from = 0;
    return shares.map(({ resident: { model, values, adapterDim }, places }, index) => {
      const own: Tensor3D = slice(hidden, [from, 0, 0], [places.length, hidden.shape[1], hidden.shape[2]]);
      const states = model.read(own, lengths.subarray(from, from + places.length), arranged[index]!.places);
      from += places.length;
      return model.scores(headOf(model, values, adapterDim), { states, hooks: {} });
    });
  });
  for (const [index, { places }] of shares.entries()) await take(scores[index]!, arranged[index]!, places, results);
}

/** The token that is read of every text; null where some adapter's task reads more. */
function readsOf(shares: readonly Share[], lengths: Int32Array): number[] | null {
  let start = 0;
  const each = shares.map(({ resident: { model }, places }) => {
    start += places.length;
    return model.readsOf(lengths.subarray(start - places.length, start));
  });
  return each.includes(null) ? null : each.flatMap((reads) => reads!);
}

/** One pass of rows that one adapter has for itself. */
async function scoreAlone(
  batch: readonly number[],
  rows: readonly MixedRow[],
  results: (readonly Float32Array[])[],
): Promise<void> {
  const { resident, task } = rows[batch[0]!]!;
  const { model, values } = resident;
  const random = seededRandom(0);
  const arranged = model.arrange(
    batch.map((place) => rows[place]!.example),
    () => random,
  );
  const scores = tidy(() => {
    const parameters = nameTensors(splitFlat(values, model.layout), model.layout);
    const scored = model.states(parameters, arranged, {
      training: false,
      random,
      ...(task === undefined ? {} : { task }),
    });
    return model.scores(parameters, scored);
  });
  await take(scores, arranged, batch, results);
}

/** Reads scores `[states, outputs]`, frees them, and gives every row its own. */
async function take(
  scores: Tensor2D,
  { places: scored, targets }: ReturnType<TaskModel['arrange']>,
  places: readonly number[],
  results: (readonly Float32Array[])[],
): Promise<void> {
  const values = (await scores.data()) as Float32Array;
  const outputCount = scores.shape[1];
  scores.dispose();
  const own: Float32Array[][] = places.map(() => []);
  for (const state of targets.keys())
    own[scored[state]?.row ?? state]!.push(values.slice(state * outputCount, (state + 1) * outputCount));
  for (const [index, place] of places.entries()) results[place] = own[index]!;
}

/** The hooks of what acts as one, for its rows, which stand together in the order of its adapters. */
function hooksOf(acting: Acting, attentionMask: Tensor2D): AdapterHooks {
  const { resident } = acting[0]!;
  const { adapter, values, adapterDim } = resident;
  const parameters: Parameters =
    acting.length === 1
      ? nameParts(slice(values, 0, adapterDim), [], adapter)
      : stackedParameters(acting, adapterDim, adapter);
  return adapter.hooks({ parameters, attentionMask, training: false, random: seededRandom(0) });
}

/** Parameters `[copies, ...shape]`: an adapter stands as often as its rows have stretches. */
function stackedParameters(acting: Acting, adapterDim: number, adapter: BoundAdapter): Parameters {
  const stretch = stretchOf(acting);
  const copies = acting.flatMap(({ resident: { values }, places }) => {
    const own: Tensor1D = slice(values, 0, adapterDim);
    return Array.from({ length: places.length / stretch }, () => own);
  });
  return nameParts(stack(copies), [copies.length], adapter);
}

/** The adapter's tensors of flat values `[...leading, adapterDim]` by name. */
function nameParts(flat: Tensor, leading: readonly number[], { tensors }: BoundAdapter): Parameters {
  if (tensors.length === 0) return new Map();
  const sizes = tensors.map(({ shape }) => shape.reduce((size, extent) => size * extent, 1));
  const parts = split(flat, sizes, leading.length);
  return new Map(tensors.map(({ name, shape }, index) => [name, reshape(parts[index]!, [...leading, ...shape])]));
}

/** The tensors of a head by name: what follows the adapter in the layout. */
function headOf({ layout }: TaskModel, values: Tensor1D, adapterDim: number): Parameters {
  const tensors = layout.tensors.filter(({ offset }) => offset >= adapterDim);
  return new Map(
    tensors.map(({ name, shape, offset, size }) => [name, reshape(slice(values, offset, size), [...shape])]),
  );
}
