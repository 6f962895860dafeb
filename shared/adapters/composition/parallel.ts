/**
 * One text, several adapters at once (`Parallel` of AdapterHub; Rücklé 2021, section 3.2): below the lowest layer at which any of them acts the
 * base runs once, from there on once for each adapter, on a batch that is repeated in their order. Every adapter's states go to its own
 * head, so one pass answers several tasks, and a new version runs in the shadow of the one that serves.
 */
import { concat, split, type Tensor2D, type Tensor3D, zerosLike } from '@tensorflow/tfjs-core';
import type { BaseModel, TokenBatch } from '../../model/base-model.ts';
import { type AdapterHooks, type SublayerChange, sublayerChange } from '../sublayer-change.ts';
import { reachOf } from './members.ts';

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
