/**
 * Adapters at the end of a sublayer as what they add to its output h. With a change c the sublayer's result is norm(x + h + c) on a post-norm
 * base and x + h + c on a pre-norm one (x the residual input). Compositions add up, chain and mix changes; a host only ever sees the result.
 */
import type { Tensor3D } from '@tensorflow/tfjs-core';
import { residualSum } from '../compute/without-saving.ts';
import type { SiteHooks, SublayerSite } from '../model/base-model.ts';

/** The host's frozen norm after the residual sum; undefined on pre-norm bases. */
export type HostNorm = ((input: Tensor3D) => Tensor3D) | undefined;

/**
 * What an adapter adds to `output` h, from h and `residual` x, all `[batch, sequence, hidden]`: without residual and norm. Undefined where
 * it does not act. Rows of the batch, and stretches of the sequence, may be passed alone.
 */
export type SublayerChange = (
  site: SublayerSite,
  output: Tensor3D,
  residual: Tensor3D,
  norm: HostNorm,
) => Tensor3D | undefined;

/** Hooks with the change that compositions need, where the adapter has that form. */
export interface AdapterHooks extends SiteHooks {
  readonly change?: SublayerChange;
}

/** The hook for hosts and the change for compositions. */
export function sublayerChange(change: SublayerChange): Required<Pick<AdapterHooks, 'change' | 'sublayer'>> {
  return {
    change,
    sublayer: (site, output, residual, norm) => {
      const added = change(site, output, residual, norm);
      return added === undefined ? undefined : finishSublayer(residualSum(output, added), residual, norm);
    },
  };
}

/** norm(x + h), or x + h without a norm: what the host itself does. */
export function finishSublayer(output: Tensor3D, residual: Tensor3D, norm: HostNorm): Tensor3D {
  const sum = residualSum(output, residual);
  return norm === undefined ? sum : norm(sum);
}
