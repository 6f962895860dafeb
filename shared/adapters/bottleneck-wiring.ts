/**
 * How a bottleneck adapter A sits at the end of a sublayer with result h, residual input x and, on post-norm bases, the host's frozen norm
 * LN (elsewhere LN is the identity): y = LN?(A(u) + ρ + x?), with u, ρ and the two options as `Wiring` says. Own is the adapter's norm.
 *
 * | placement | u | post-norm | pre-norm |
 * |---|---|---|---|
 * | `pfeiffer` (Pfeiffer 2020, section 3) | LN(h + x) | LN(x + h + A(u)) | x + h + A(u) |
 * | `houlsby` (Houlsby 2019, figure 2) | h | LN(x + h + A(u)) | x + h + A(u) |
 * | `parallel` (He 2022, section 3) | x | LN(x + h + A(u)) | x + h + A(u) |
 * | `adapterplus` (Steitz and Roth 2024, section 3) | LN(h + x) | u + A(u) | u + A(u) |
 *
 * These are AdapterHub's `seq_bn`, `double_seq_bn`, `par_bn` and `AdapterPlusConfig`. The host's norms stay frozen.
 */
import { add, type Tensor3D } from '@tensorflow/tfjs-core';
import type { Wiring } from './bottleneck-configuration.ts';
import { finishSublayer, type HostNorm } from './sublayer-change.ts';

/** What a sublayer ends with, all `[batch, sequence, hidden]`. */
export interface SublayerEnd {
  /** h. */
  readonly output: Tensor3D;
  /** x. */
  readonly residual: Tensor3D;
  /** LN, or undefined on a pre-norm base. */
  readonly norm: HostNorm;
  /** What a parallel adapter reads in place of x, where that was asked for. */
  readonly parallelInput: Tensor3D | undefined;
}

/** An adapter as the wiring sees it. */
export interface WiredAdapter {
  readonly adapt: (input: Tensor3D) => Tensor3D;
  readonly ownNorm: ((input: Tensor3D) => Tensor3D) | undefined;
  /** Whether ρ is added before `ownNorm`. */
  readonly residualBeforeNorm: boolean;
}

/** Whether all that the adapter does is to add something to h: then compositions can add, chain and mix it. */
export function isChange({ hostNormAfter, residual, parallel }: Wiring, residualBeforeNorm: boolean): boolean {
  return hostNormAfter && (parallel || residual === 'output') && !residualBeforeNorm;
}

/** What the adapter adds to h, where {@link isChange}. */
export function changeOf(wiring: Wiring, end: SublayerEnd, { adapt, ownNorm }: WiredAdapter): Tensor3D {
  const adapted = adapt(inputOf(wiring, end));
  return ownNorm?.(adapted) ?? adapted;
}

/** y, which replaces LN(h + x) or h + x, for any wiring. */
export function wire(wiring: Wiring, end: SublayerEnd, adapter: WiredAdapter): Tensor3D {
  const { residual, norm } = end;
  const input = inputOf(wiring, end);
  const carried = carriedOf(wiring, end, input);
  const adapted = adapter.adapt(input);
  const own = adapter.ownNorm ?? ((states: Tensor3D) => states);
  const joined: Tensor3D = adapter.residualBeforeNorm ? own(add(adapted, carried)) : add(carried, own(adapted));
  return wiring.hostNormAfter ? finishSublayer(joined, residual, norm) : joined;
}

/** u. */
function inputOf(
  { parallel, hostNormBefore }: Wiring,
  { output, residual, norm, parallelInput }: SublayerEnd,
): Tensor3D {
  if (parallel) return parallelInput ?? residual;
  return hostNormBefore ? finishSublayer(output, residual, norm) : output;
}

/** ρ. AdapterHub's parallel adapter takes h whatever the flag says. */
function carriedOf(
  { parallel, residual: carried }: Wiring,
  { output, residual }: SublayerEnd,
  input: Tensor3D,
): Tensor3D {
  if (parallel || carried === 'output') return output;
  return carried === 'sum' ? add(output, residual) : input;
}
