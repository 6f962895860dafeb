/**
 * One batch, rows by adapter (Poth 2023, composition blocks; `BatchSplit` of AdapterHub, the mixed batch of PEFT): every row b passes through the
 * member m(b) it belongs to, h'_b = h_b + c_{m(b)}(h_b, x_b) with h_b `[sequence, hidden]`, and the base runs once for all of them. Row by row it is the same as running each adapter alone, so serving puts requests for many
 * adapters into one batch, and a simulation the clients of a cohort.
 *
 * Which rows belong to whom comes with the pass (`AdapterContext.rows`: places of members, or -1 for the base alone), or stands in the
 * configuration as `sizes` of consecutive stretches. Where neither says it, members take turns, row by row, so that each is trained on its share of a
 * batch.
 */
import {
  concat,
  gather,
  reshape,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tensor1d,
  zerosLike,
} from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { takeRows } from '../../compute/rows.ts';
import { assert } from '../../core/assert.ts';
import { UsageError } from '../../core/errors.ts';
import { sectionField, wholeField } from '../../plan/fields.ts';
import { shown } from '../../plan/problems.ts';
import type { AdapterContext } from '../method.ts';
import { parseSettings, refuseSettings } from '../settings.ts';
import { type AdapterHooks, type SublayerChange, sublayerChange } from '../sublayer-change.ts';
import { bindMembers, type CompositionBinder, composed, membersField, reachOf, refuseOtherHooks } from './members.ts';

const sizesError = 'a list of one number of rows for each member';
const schema = sectionField({
  members: membersField(1),
  sizes: z.optional(z.array(wholeField(1, 2 ** 20), { error: sizesError })),
});

/** Binds `batch-split`. Members act at linear maps or at the ends of sublayers. */
export const bindBatchSplit: CompositionBinder = (value, base, bindMember) => {
  const settings = parseSettings('batch-split', schema, value);
  const { sizes } = settings;
  const { members, configurations } = bindMembers('batch-split', settings.members, { base, bindMember });
  if (sizes !== undefined && sizes.length !== members.length) {
    const sentence = `must be ${sizesError}, of which there are ${members.length}, found ${shown(sizes)}`;
    refuseSettings('batch-split', [{ path: 'sizes', sentence }]);
  }
  refuseOtherHooks('batch-split', members, ['linear', 'sublayer']);
  const fixed = sizes?.flatMap((size, place) => Array.from({ length: size }, () => place));
  return composed({
    method: 'batch-split',
    configuration: { members: configurations, ...(sizes === undefined ? {} : { sizes }) },
    members,
    // Rows are those of the whole batch: a member that splits its own in turn does not see them.
    partOf: ({ rows: given, ...context }, place) => {
      const rows = given ?? fixed ?? inTurn(context, members.length);
      const { attentionMask } = context;
      if (attentionMask === undefined || rows === undefined) return context;
      return { ...context, attentionMask: maskOf(attentionMask, rows, place) };
    },
    hooks: (hooks, context) => batchSplitHooks(hooks, context.rows ?? fixed ?? inTurn(context, members.length)),
  });
};

/** Row i for member i, and again from the first; undefined where nothing says how many rows a pass has. */
function inTurn({ attentionMask }: Pick<AdapterContext, 'attentionMask'>, memberCount: number): number[] | undefined {
  return attentionMask && Array.from({ length: attentionMask.shape[0] }, (_, row) => row % memberCount);
}

/**
 * The hooks of a batch whose row i belongs to `members[rows[i]]`, or to the base alone where that is -1. The rows must be as many as the
 * batch has. Rows that stand together by member save copies.
 */
export function batchSplitHooks(members: readonly AdapterHooks[], rows: readonly number[] | undefined): AdapterHooks {
  const groups = (): readonly Group[] => {
    assert(rows !== undefined, 'a split batch needs to know which row belongs to which member');
    return groupsOf(rows, members.length);
  };
  const hasLinear = members.some(({ linear }) => linear !== undefined);
  const linear: AdapterHooks['linear'] = (site, input, output, map) => {
    let hasActed = false;
    const changed = splitRows(groups(), [input, output], ([ownInput, ownOutput], { place }) => {
      const member = members[place];
      const isMeant = member?.linearTargets?.has(site.target) ?? true;
      const replaced = isMeant ? member?.linear?.(site, ownInput!, ownOutput!, map) : undefined;
      if (replaced !== undefined) hasActed = true;
      return replaced ?? ownOutput!;
    });
    return hasActed ? changed : undefined;
  };
  const hasChange = members.some(({ change }) => change !== undefined);
  const change: SublayerChange = (site, output, residual, norm) => {
    let hasActed = false;
    const changed = splitStates(groups(), [output, residual], ([ownOutput, ownResidual], { place }) => {
      const added = members[place]?.change?.(site, ownOutput!, ownResidual!, norm);
      if (added !== undefined) hasActed = true;
      return added ?? zerosLike(ownOutput!);
    });
    return hasActed ? changed : undefined;
  };
  return {
    ...reachOf(members),
    ...(hasLinear ? { linear } : {}),
    ...(hasChange ? sublayerChange(change) : {}),
  };
}

function maskOf(mask: Tensor2D, rows: readonly number[], place: number): Tensor2D {
  const [rowCount] = mask.shape;
  if (rows.length !== rowCount) {
    throw new UsageError(
      'wrong-batch',
      `batch-split: a batch has ${rowCount} rows, the members have ${rows.length}; sizes must add up to the rows of every batch`,
    );
  }
  const own = rows.flatMap((member, row) => (member === place ? [row] : []));
  return gather(mask, tensor1d(own, 'int32'));
}

/** Rows of the batch that belong to one member. */
interface Group {
  readonly place: number;
  readonly rows: readonly number[];
  readonly batchSize: number;
}

function groupsOf(rows: readonly number[], memberCount: number): readonly Group[] {
  const groups = new Map<number, number[]>();
  for (const [row, place] of rows.entries()) {
    assert(
      Number.isInteger(place) && place >= -1 && place < memberCount,
      `row ${row} belongs to the member ${place}; there are 0 to ${memberCount - 1}, and -1 for none`,
    );
    const group = groups.get(place) ?? [];
    groups.set(place, group);
    group.push(row);
  }
  return [...groups].map(([place, own]) => ({ place, rows: own, batchSize: rows.length }));
}

/** Runs `run` on the rows of each group and puts the results back in the order of the batch. All are `[batch, width]`. */
function splitMatrix(
  groups: readonly Group[],
  inputs: readonly Tensor2D[],
  run: (parts: readonly Tensor2D[], group: Group) => Tensor2D,
): Tensor2D {
  const [first] = groups;
  if (first !== undefined && groups.length === 1) return run(inputs, first);
  const results = groups.map((group) =>
    run(
      inputs.map((input) => takeRows(input, group.rows)),
      group,
    ),
  );
  const order = groups.flatMap(({ rows }) => rows);
  const joined = concat(results, 0);
  if (order.every((row, index) => row === index)) return joined;
  const places: number[] = [];
  for (const [index, row] of order.entries()) places[row] = index;
  return takeRows(joined, places);
}

function splitStates(
  groups: readonly Group[],
  inputs: readonly Tensor3D[],
  run: (parts: readonly Tensor3D[], group: Group) => Tensor3D,
): Tensor3D {
  const [batchSize, length, width] = inputs[0]!.shape;
  checkBatch(groups, batchSize);
  const flat = inputs.map((input): Tensor2D => reshape(input, [batchSize, length * width]));
  const result = splitMatrix(groups, flat, (parts, group) => {
    const states = run(
      parts.map((part): Tensor3D => reshape(part, [part.shape[0], length, width])),
      group,
    );
    return reshape(states, [states.shape[0], length * width]);
  });
  return reshape(result, [batchSize, length, width]);
}

/** The same for rows `[batch * sequence, width]`, each input of its own width. */
function splitRows(
  groups: readonly Group[],
  inputs: readonly Tensor2D[],
  run: (parts: readonly Tensor2D[], group: Group) => Tensor2D,
): Tensor2D {
  const batchSize = groups[0]?.batchSize ?? 0;
  const rowCount = inputs[0]!.shape[0];
  assert(batchSize > 0 && rowCount % batchSize === 0, `${rowCount} rows are no batch of ${batchSize}`);
  const length = rowCount / batchSize;
  const unroll = (rows: Tensor): Tensor2D => reshape(rows, [-1, length * rows.shape[1]!]);
  const width = inputs.at(-1)!.shape[1];
  const result = splitMatrix(groups, inputs.map(unroll), (parts, group) => {
    const rolled = parts.map((part, index): Tensor2D => reshape(part, [-1, inputs[index]!.shape[1]]));
    return unroll(run(rolled, group));
  });
  return reshape(result, [rowCount, width]);
}

function checkBatch(groups: readonly Group[], batchSize: number): void {
  const known = groups[0]?.batchSize ?? 0;
  assert(known === batchSize, `the members of ${known} rows are known, the batch has ${batchSize}`);
}
