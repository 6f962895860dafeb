/**
 * Several adapters over one batch, side by side (Rücklé 2021, AdapterDrop, for parallel inference; Poth 2023, composition blocks; `Parallel` of
 * AdapterHub): with N members the lowest layer with an adapter gets the batch once for each of them, h = [h_1; …; h_N] `[N · batch, sequence,
 * hidden]` and h'_i = h_i + c_i(h_i, x_i), layers below run once for all, and every adapter has results, and a head, of its own. Trained with a task of kind `several` whose tasks have
 * the names of the members: adapters for several tasks in one pass, or, with the same labels for all, several settings beside each other. Each
 * learns what it would alone: no gradient goes from one to the other.
 */
import { concat, split, type Tensor2D, type Tensor3D, zerosLike } from '@tensorflow/tfjs-core';
import type { BaseModel, TokenBatch } from '../../model/base-model.ts';
import { sectionField } from '../../plan/fields.ts';
import { parseSettings } from '../settings.ts';
import { type AdapterHooks, type SublayerChange, sublayerChange } from '../sublayer-change.ts';
import { bindMembers, type CompositionBinder, composed, membersField, reachOf, refuseOtherHooks } from './members.ts';

const schema = sectionField({ members: membersField(2) });

/** Binds `parallel`. Members act at linear maps or at the ends of sublayers. */
export const bindParallel: CompositionBinder = (value, base, bindMember) => {
  const settings = parseSettings('parallel', schema, value);
  const { members, configurations } = bindMembers('parallel', settings.members, { base, bindMember });
  refuseOtherHooks('parallel', members, ['linear', 'sublayer']);
  const bound = composed({
    method: 'parallel',
    configuration: { members: configurations },
    members,
    hooks: (hooks) => parallelHooks(hooks),
  });
  return { ...bound, sideBySide: members.map(({ id }) => id) };
};

/** Last hidden states `[batch, sequence, hidden]` for each of the adapters, which act at linear maps or at the ends of sublayers. */
export function encodeParallel(base: BaseModel, batch: TokenBatch, members: readonly AdapterHooks[]): Tensor3D[] {
  return split(base.encode(batch, parallelHooks(members)), members.length, 0);
}

/** The hooks of a pass whose batch is repeated for each of the adapters. */
export function parallelHooks(members: readonly AdapterHooks[]): AdapterHooks {
  const linear: AdapterHooks['linear'] = (site, input, output, map) => {
    const inputs: Tensor2D[] = split(input, members.length, 0);
    const outputs: Tensor2D[] = split(output, members.length, 0);
    const replaced = members.map((member, index) => {
      const isMeant = member.linearTargets?.has(site.target) ?? true;
      return isMeant ? member.linear?.(site, inputs[index]!, outputs[index]!, map) : undefined;
    });
    if (replaced.every((part) => part === undefined)) return undefined;
    return concat(
      replaced.map((part, index) => part ?? outputs[index]!),
      0,
    );
  };
  const change: SublayerChange = (site, output, residual, norm) => {
    const outputs: Tensor3D[] = split(output, members.length, 0);
    const residuals: Tensor3D[] = split(residual, members.length, 0);
    const added = members.map(({ change: own }, index) => own?.(site, outputs[index]!, residuals[index]!, norm));
    if (added.every((part) => part === undefined)) return undefined;
    return concat(
      added.map((part, index) => part ?? zerosLike(outputs[index]!)),
      0,
    );
  };
  return {
    ...reachOf(members),
    copies: members.length,
    ...(members.some((member) => member.linear !== undefined) ? { linear } : {}),
    ...(members.some((member) => member.change !== undefined) ? sublayerChange(change) : {}),
  };
}
