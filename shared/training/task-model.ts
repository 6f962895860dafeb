/**
 * A model for a task: frozen base, adapter, and what scores its states: a linear head, or the base's own output. It binds what is trained to
 * one flat layout: first the adapter's tensors in their order, then those of the head.
 */
import {
  add,
  concat,
  mul,
  reshape,
  type Scalar,
  slice,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor2d,
  tensor3d,
  tidy,
} from '@tensorflow/tfjs-core';
import { activate } from '../adapters/activations.ts';
import type { AdapterContext } from '../adapters/method.ts';
import type { AdapterHooks } from '../adapters/sublayer-change.ts';
import { tasksIn } from '../adapters/with-task.ts';
import { crossEntropy } from '../compute/cross-entropy.ts';
import { trainableLinear, trainableMatMul } from '../compute/products.ts';
import { takeRows } from '../compute/rows.ts';
import { assert } from '../core/assert.ts';
import { FormatError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import { batchOf, type EncodedBatch } from '../data/batches.ts';
import type { EncodedExample } from '../data/encode.ts';
import type { ExampleSource } from '../data/example-source.ts';
import type { BaseModel, SiteHooks, StatesBelow } from '../model/base-model.ts';
import type { Pooling, Task } from '../plan/task.ts';
import type { AdapterLayout, TensorSpecification } from '../update/layout.ts';
import type { ActivationCache } from './activation-cache.ts';
import { withWordChange } from './adversarial.ts';
import { type EvaluationCounts, startCounts } from './counts.ts';
import { initialValues, taskLayout } from './initial-adapter.ts';
import { binaryCrossEntropy } from './loss.ts';
import { statesBelow } from './states-below.ts';
import { bindTask } from './tasks/registry.ts';
import type { Arranged, BoundTask, Draw, LabelBlock } from './tasks/task.ts';
import { countVocabulary, frozenVocabularyLoss, type VocabularyOutput } from './vocabulary-scores.ts';

/** The trainable tensors of one forward pass by layout name. */
export type Parameters = ReadonlyMap<string, Tensor>;

/** What a model needs of an adapter: a method bound to its configuration and to the base. */
export interface TaskAdapter {
  readonly tensors: readonly TensorSpecification[];
  initialise(specification: TensorSpecification, random: SeededRandom): Float32Array;
  hooks(context: AdapterContext): AdapterHooks;
  /** Tokens that it puts in front of every text, which take positions from it. Absent means none. */
  readonly virtualTokens?: number;
  /** Whether its hooks take the parameters of several clients in one, as `AdapterMethod.stacks` says. Absent means no. */
  readonly stacks?: boolean;
  /** Names of adapters in it that stand side by side, each with a head: those of the tasks of a task of kind `several`. */
  readonly sideBySide?: readonly string[];
  /** Its settings, where it has some. */
  readonly configuration?: Readonly<Record<string, unknown>>;
}

/** Losses of heads by name. */
const headLosses = { 'cross-entropy': crossEntropy, 'binary-cross-entropy': binaryCrossEntropy } as const;

/** How a forward pass runs: training switches adapter dropout on, which draws from `random`, and takes auxiliary losses. */
export type PassMode = Pick<AdapterContext, 'training' | 'random' | 'step' | 'task' | 'addLoss' | 'observe'> & {
  /** Added to the word vectors, in the shape that {@link TaskModel.wordShape} says. */
  readonly wordChange?: Tensor3D;
  /** Where to start, as {@link TaskModel.below} gave it for the same batch. */
  readonly below?: StatesBelow | null;
};

/** What {@link createTaskModel} needs. */
export interface TaskModelOptions {
  readonly base: BaseModel;
  readonly adapter: TaskAdapter;
  readonly task: Task;
  /** Of its tokenizer: the id of padding (any will do, since masks hide it) and of the mask. */
  readonly tokenizer?: { readonly padId?: number; readonly maskId?: number | null };
  /** How many of the lowest layers go without their adapters where nothing is trained (AdapterDrop). Default 0. */
  readonly dropLowest?: number;
  /** Keeps states below the lowest adapter from pass to pass; absent means that every pass computes them. */
  readonly activations?: ActivationCache;
}

/** States on their way to what scores them. */
export interface ScoredStates {
  /** `[states, hidden]`. */
  readonly states: Tensor2D;
  /** What the adapter does at the output of the base. */
  readonly hooks: SiteHooks;
}

/** A model for a task; its functions allocate tensors, so callers run them inside `tidy`. */
export interface TaskModel {
  readonly task: BoundTask;
  readonly layout: AdapterLayout;
  /** True when only one head trains, on one state per text: then the states are the same in every epoch and are kept in `textStates`. */
  readonly isHeadAlone: boolean;
  /** States `[count * hidden]` by source, filled by `features.ts` where only the head trains. */
  readonly textStates: WeakMap<ExampleSource, Float32Array>;
  readonly hiddenSize: number;
  /** Whether several clients can pass together ({@link statesTogether}). */
  readonly stacks: boolean;
  /** The tasks that the adapter serves by name; a pass over a part of the data that has such a name is of that task. */
  readonly adapterTasks: readonly string[];
  /** Start values in layout order: identity for the adapter, small normal numbers for the head's kernel, zero for its bias. */
  initialise(seed: number): Float32Array;
  /** What is read and scored of a batch. Pure. */
  arrange(examples: readonly EncodedExample[], draw: Draw): Arranged;
  /** Shape `[batch, sequence, hidden]` of the word vectors that are read. */
  wordShape(arranged: Arranged): [number, number, number];
  /**
   * The states of a batch below the lowest adapter, which the caller disposes; null where nothing is kept. `isRepeated`: the same texts come
   * again.
   */
  below(arranged: Arranged, isRepeated: boolean): Promise<StatesBelow | null>;
  /** The scored states. */
  states(parameters: Parameters, arranged: Arranged, mode: PassMode): ScoredStates;
  /**
   * The scored states of several clients whose rows go through the frozen parts in one call, as many of each: `stacked` `[clients, ...shape]` by
   * name, `below` of all rows in their order. Only where {@link stacks}.
   */
  statesTogether(
    stacked: Parameters,
    clients: readonly Pick<Arranged, 'examples' | 'places'>[],
    options: { readonly mode: Omit<PassMode, 'wordChange' | 'below'>; readonly below: StatesBelow | null },
  ): readonly ScoredStates[];
  /** The places of the tokens that a pass over texts of some lengths reads, one of each; null where it reads more. */
  readsOf(lengths: Int32Array): readonly number[] | null;
  /** The scored states `[states, hidden]` of hidden states `[rows, sequence, hidden]` of some texts, or of the tokens that are read; `lengths` in tokens. */
  read(hidden: Tensor3D, lengths: Int32Array, places: Arranged['places']): Tensor2D;
  /** Mean loss over scored states. */
  loss(parameters: Parameters, scored: ScoredStates, arranged: Arranged): Scalar;
  /** Scores `[states, outputs]`. */
  scores(parameters: Parameters, scored: ScoredStates): Tensor2D;
  /** Counts of a batch; keeps `scored`. */
  count(parameters: Parameters, scored: ScoredStates, arranged: Arranged): Promise<EvaluationCounts>;
}

/** Binds base, adapter and task. @throws FormatError `bad-plan` when the base does not fit the task; UsageError `nothing-to-train`. */
export function createTaskModel(options: TaskModelOptions): TaskModel {
  const { base, adapter, task: settings, tokenizer = {}, dropLowest = 0, activations } = options;
  const { description } = base;
  const { hiddenSize, positionsMax, vocabularySize } = description;
  const task = bindTask(settings);
  requireTaskFit(task, description);
  const textTokensMax = positionsMax - (adapter.virtualTokens ?? 0);
  requireRoom(settings, textTokensMax, adapter);
  const layout = taskLayout(adapter, description, settings);
  const { readout } = task;
  const { padId = 0, maskId = null } = tokenizer;
  const readsOf: TaskModel['readsOf'] = (lengths) => {
    if (readout.kind !== 'text-head' || readout.pooling === 'mean') return null;
    return Array.from(lengths, (length) => (readout.pooling === 'first' ? 0 : length - 1));
  };
  const states: TaskModel['states'] = (parameters, { examples, places }, { wordChange, below, ...mode }) => {
    const batch = batchOf(examples, padId, textTokensMax);
    const { sequenceLength } = batch;
    const shape: [number, number] = [batch.rowCount, sequenceLength];
    const inputIds = tensor2d(batch.ids, shape, 'int32');
    const attentionMask = tensor2d(maskOf(batch), shape, 'int32');
    const dropped = mode.training || dropLowest === 0 ? {} : { dropLowest };
    const own = adapter.hooks({ parameters, attentionMask, ...mode, ...dropped });
    const hooks = wordChange === undefined ? own : withWordChange(own, wordChange);
    const reads = readsOf(batch.lengths);
    const all = base.encode({ inputIds, attentionMask, ...(below && { below }), ...(reads && { reads }) }, hooks);
    const copies = hooks.copies ?? 1;
    assert(all.shape[0] === copies * batch.rowCount, 'a result for every text and every copy of it');
    // What an adapter puts in front of the text is not scored.
    const added = all.shape[1] - sequenceLength;
    const hidden: Tensor3D =
      added <= 0 ? all : slice(all, [0, added, 0], [copies * batch.rowCount, sequenceLength, hiddenSize]);
    const lengths =
      copies === 1
        ? batch.lengths
        : Int32Array.from({ length: copies * batch.rowCount }, (_, row) => batch.lengths[row % batch.rowCount]!);
    return { states: read(hidden, lengths, copies === 1 ? places : placesOfCopies(places, batch.rowCount)), hooks };
  };
  const read: TaskModel['read'] = (hidden, lengths, places) => {
    const [rowCount, sequenceLength] = hidden.shape;
    if (readout.kind === 'text-head') {
      const pooled =
        sequenceLength === 1
          ? (reshape(hidden, [rowCount, hiddenSize]) as Tensor2D)
          : (sum(mul(hidden, poolingWeights(lengths, sequenceLength, readout.pooling)), 1) as Tensor2D);
      if (readout.blocks === undefined || isEachRow(places, rowCount)) return pooled;
      return takeRows(
        pooled,
        places.map(({ row }) => row),
      );
    }
    const rows = places.map(({ row, token }) => row * sequenceLength + token);
    return takeRows(reshape(hidden, [rowCount * sequenceLength, hiddenSize]), rows);
  };
  const statesTogether: TaskModel['statesTogether'] = (stacked, clients, { mode, below }) => {
    assert(adapter.stacks === true, 'an adapter of several clients acts on its stretch of the rows alone');
    const batch = batchOf(
      clients.flatMap(({ examples }) => examples),
      padId,
      textTokensMax,
    );
    const { rowCount, sequenceLength } = batch;
    const shape: [number, number] = [rowCount, sequenceLength];
    const inputIds = tensor2d(batch.ids, shape, 'int32');
    const attentionMask = tensor2d(maskOf(batch), shape, 'int32');
    const hooks = adapter.hooks({ parameters: stacked, attentionMask, ...mode });
    const reads = readsOf(batch.lengths);
    const hidden = base.encode({ inputIds, attentionMask, ...(below && { below }), ...(reads && { reads }) }, hooks);
    const each = rowCount / clients.length;
    return clients.map(({ places }, index) => {
      const rows: Tensor3D = slice(hidden, [index * each, 0, 0], [each, hidden.shape[1], hiddenSize]);
      const lengths = batch.lengths.subarray(index * each, (index + 1) * each);
      return { states: read(rows, lengths, places), hooks };
    });
  };
  const scores: TaskModel['scores'] = (parameters, { states: found, hooks }) => {
    if (readout.kind === 'vocabulary') {
      const all = base.languageModelScores(reshape(found, [1, ...found.shape]), hooks);
      return reshape(all, [found.shape[0], vocabularySize]);
    }
    const kernel = (name: string) => named(parameters, `${name}.kernel`) as Tensor2D;
    const bias = (name: string) => named(parameters, `${name}.bias`) as Tensor1D;
    if (readout.blocks !== undefined) {
      const names = readout.blocks.map(({ name }) => `heads.${name}`);
      return trainableLinear(found, concat<Tensor2D>(names.map(kernel), 1), concat<Tensor1D>(names.map(bias), 0));
    }
    const { hidden, bias: hasBias = true } = ('head' in settings ? settings.head : undefined) ?? {};
    const state =
      hidden === undefined
        ? found
        : activate(hidden, trainableLinear(found, kernel('head.hidden'), bias('head.hidden')));
    return hasBias ? trainableLinear(state, kernel('head'), bias('head')) : trainableMatMul(state, kernel('head'));
  };
  const outputOf = (parameters: Parameters, hooks: SiteHooks): VocabularyOutput => ({
    scoresOf: (states) => scores(parameters, { states, hooks }),
    vocabularySize,
  });
  return {
    task,
    layout,
    hiddenSize,
    stacks: adapter.stacks === true,
    adapterTasks: tasksIn(adapter.configuration ?? {}),
    isHeadAlone: adapter.tensors.length === 0 && readout.kind === 'text-head' && readout.blocks === undefined,
    textStates: new WeakMap(),
    initialise: (seed) => initialValues(layout, adapter, seed),
    arrange: (examples, draw) => {
      const arranged = task.arrange(examples, draw, { vocabularySize, maskId });
      assert(arranged.targets.length > 0, 'every example has something to score');
      return arranged;
    },
    wordShape: ({ examples }) => {
      const { rowCount, sequenceLength } = batchOf(examples, padId, textTokensMax);
      return [rowCount, sequenceLength, hiddenSize];
    },
    below: async ({ examples }, isRepeated) => {
      if (activations === undefined) return null;
      const hooks = adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(0) });
      const batch = batchOf(examples, padId, textTokensMax);
      return statesBelow({ base, hooks, cache: activations, batch, isRepeated });
    },
    states,
    statesTogether,
    readsOf,
    read,
    scores,
    loss: (parameters, scored, arranged) => {
      const targets = arranged.targets as readonly number[] & readonly Int32Array[];
      if (readout.kind !== 'vocabulary') {
        const all = scores(parameters, scored);
        const { blocks, outputCount } = readout;
        const compared = blocks === undefined ? all : add<Tensor2D>(all, otherTasks(blocks, targets, outputCount));
        return headLosses[readout.loss](compared, targets, readout.weights);
      }
      const { states: found, hooks } = scored;
      // Where the adapter trains something at the output, its gradient has to be recorded with the rest.
      const isFrozen = hooks.output === undefined && hooks.weight === undefined;
      if (!isFrozen) return crossEntropy(scores(parameters, scored), targets);
      return frozenVocabularyLoss(found, targets, outputOf(parameters, hooks));
    },
    count: async (parameters, scored, arranged) => {
      const counts = startCounts(task.shape);
      if (task.count === undefined) {
        const targets = arranged.targets as readonly number[];
        await countVocabulary(counts, scored.states, targets, outputOf(parameters, scored.hooks));
        counts.exampleCount += arranged.examples.length;
        return counts;
      }
      const logits = tidy(() => scores(parameters, scored));
      task.count(counts, await logits.data(), arranged);
      logits.dispose();
      return counts;
    },
  };
}

/** 0 at the labels of a target's own task and as good as −∞ at all others, `[targets, labels]`. */
function otherTasks(blocks: readonly LabelBlock[], targets: readonly number[], labelCount: number): Tensor2D {
  const values = new Float32Array(targets.length * labelCount).fill(-1e9);
  for (const [row, target] of targets.entries()) {
    const { start, size } = blocks.findLast((block) => block.start <= target)!;
    values.fill(0, row * labelCount + start, row * labelCount + start + size);
  }
  return tensor2d(values, [targets.length, labelCount]);
}

/** Whether the places are the rows one after the other. */
function isEachRow(places: Arranged['places'], rowCount: number): boolean {
  return places.length === rowCount && places.every(({ row }, index) => row === index);
}

/** Places in a batch that was repeated for members side by side: the token of a place says which of them scores it. */
function placesOfCopies(places: Arranged['places'], rowCount: number): Arranged['places'] {
  return places.map(({ row, token }) => ({ row: token * rowCount + row, token: 0 }));
}

function requireTaskFit(task: BoundTask, base: BaseModel['description']): void {
  const fault = task.fault(base);
  if (fault !== null) throw new FormatError('bad-plan', `task.${fault.field} ${fault.sentence}`);
}

function requireRoom({ lengthMax }: Task, textTokensMax: number, { virtualTokens = 0 }: TaskAdapter): void {
  if (virtualTokens === 0 || lengthMax <= textTokensMax) return;
  throw new FormatError(
    'bad-plan',
    `task.lengthMax must be at most ${textTokensMax}, what the adapter's ${virtualTokens} virtual tokens leave of the base's positions, found ${lengthMax}`,
  );
}

function named(parameters: Parameters, name: string): Tensor {
  const tensor = parameters.get(name);
  assert(tensor !== undefined, `the parameters hold no tensor ${name}`);
  return tensor;
}

/** `[rowCount * sequenceLength]`, 1 on tokens and 0 on padding. */
export function maskOf({ lengths, rowCount, sequenceLength }: EncodedBatch): Int32Array {
  const mask = new Int32Array(rowCount * sequenceLength);
  for (const [row, length] of lengths.entries()) mask.fill(1, row * sequenceLength, row * sequenceLength + length);
  return mask;
}

/** Weights `[rows, sequence, 1]` whose weighted sum over the sequence is the pooled state: one product for all three ways of pooling. */
function poolingWeights(lengths: Int32Array, sequenceLength: number, pooling: Pooling): Tensor3D {
  const rowCount = lengths.length;
  const weights = new Float32Array(rowCount * sequenceLength);
  for (const [row, length] of lengths.entries()) {
    const start = row * sequenceLength;
    if (pooling === 'mean') weights.fill(1 / length, start, start + length);
    else weights[pooling === 'first' ? start : start + length - 1] = 1;
  }
  return tensor3d(weights, [rowCount, sequenceLength, 1]);
}
