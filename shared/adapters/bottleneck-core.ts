/**
 * The inside of a bottleneck adapter, in the order in which AdapterHub applies its parts: A(u) = g · drop(s · path(W_up σ(W_down N(u) +
 * c_down) + c_up)), where N is an own layer norm, path drops all of an example (Huang 2016), s is fixed or trained, and g = mean_t
 * sigmoid(w · u_t + c) is one gate for each example, over all tokens, those of the padding too. Where an adapter stands and what it reads
 * is the wiring's.
 */
import {
  mean,
  mul,
  reshape,
  sigmoid,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
} from '@tensorflow/tfjs-core';
import { trainableLinear } from '../compute/products.ts';
import { type Stackable, stackableLinear } from '../compute/stacked-products.ts';
import { reshaped } from '../compute/without-saving.ts';
import type { SeededRandom } from '../core/random.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { activate } from './activations.ts';
import type { BottleneckConfiguration } from './bottleneck-configuration.ts';
import { dropExamples, dropout } from './dropout.ts';
import { normalValues, oneValues, zeroValues } from './initial-values.ts';
import type { AdapterContext } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { ownNorm, ownNormTensors } from './own-norm.ts';

/** What of a configuration the inside depends on. */
export type CoreSettings = Pick<BottleneckConfiguration, 'activation' | 'scaling' | 'dropout'> &
  Partial<Pick<BottleneckConfiguration, 'dropPath' | 'gate' | 'normBefore' | 'normAfter'>>;

/** The two maps of an adapter, on rows. */
export interface CoreMaps {
  /** `[rows, hidden]` → `[rows, width]`. */
  readonly down: (rows: Tensor2D) => Tensor2D;
  /** `[rows, width]` → `[rows, hidden]`. */
  readonly up: (rows: Tensor2D) => Tensor2D;
}

/** The dense maps of the adapter named `site`. */
export function denseMaps(site: string, context: AdapterContext): CoreMaps {
  const linear = (part: string) => (rows: Tensor2D) =>
    stackableLinear(
      rows,
      tensorOf<Stackable>(context, `${site}.${part}.kernel`),
      tensorOf<Tensor1D | Tensor2D>(context, `${site}.${part}.bias`),
    );
  return { down: linear('down'), up: linear('up') };
}

/** Kernels `[in, out]` and biases of the dense maps, in the order of the layout. */
export function denseTensors(site: string, hiddenSize: number, width: number): TensorSpecification[] {
  const tensor = (part: string, shape: readonly number[]) =>
    ({ name: `${site}.${part}`, shape, aggregationClass: 'mean', decays: part.endsWith('kernel') }) as const;
  return [
    tensor('down.kernel', [hiddenSize, width]),
    tensor('down.bias', [width]),
    tensor('up.kernel', [width, hiddenSize]),
    tensor('up.bias', [hiddenSize]),
  ];
}

/** What settings add to the maps: `scale` `[1]` or `[hidden]`, `gate.kernel` `[hidden, 1]`, `gate.bias` `[1]`, and own norms. */
export function furtherTensors(site: string, settings: CoreSettings, hiddenSize: number): TensorSpecification[] {
  const { scaling, gate, normBefore, normAfter } = settings;
  const scale = scaling === 'learned' ? [1] : scaling === 'channel' ? [hiddenSize] : null;
  const fixed = { aggregationClass: 'mean', decays: false } as const;
  return [
    ...(scale === null ? [] : [scaleTensor(site, scale)]),
    ...(gate === true
      ? [
          { name: `${site}.gate.kernel`, shape: [hiddenSize, 1], ...fixed, decays: true },
          { name: `${site}.gate.bias`, shape: [1], ...fixed },
        ]
      : []),
    ...(normBefore === true ? ownNormTensors(`${site}.normBefore`, hiddenSize) : []),
    ...(normAfter === true ? ownNormTensors(`${site}.normAfter`, hiddenSize) : []),
  ];
}

function scaleTensor(site: string, shape: readonly number[]): TensorSpecification {
  const foldInto = [`${site}.up.kernel`, `${site}.up.bias`];
  return { name: `${site}.scale`, shape, aggregationClass: 'folded', decays: false, foldInto };
}

/** Start values of biases and of {@link furtherTensors}; null for the kernels of the maps. */
export function furtherValues(
  { name, shape }: Pick<TensorSpecification, 'name' | 'shape'>,
  random: SeededRandom,
): Float32Array | null {
  if (name.endsWith('.bias')) return zeroValues(shape);
  if (name.endsWith('.scale') || name.endsWith('.gain')) return oneValues(shape);
  return name.endsWith('.gate.kernel') ? normalValues(shape, 0.02, random) : null;
}

/** A(u) of `input` u, both `[batch, sequence, hidden]`, without the own norm that may follow. */
export function adapt(
  input: Tensor3D,
  site: string,
  settings: CoreSettings,
  context: AdapterContext,
  { down, up }: CoreMaps,
): Tensor3D {
  const rows: Tensor2D = reshaped(input, [-1, input.shape[2]]);
  const normed = settings.normBefore === true ? ownNorm(rows, `${site}.normBefore`, context) : rows;
  const result = dropExamples(
    up(activate(settings.activation, down(normed))),
    { probability: settings.dropPath ?? 0, exampleCount: input.shape[0] },
    context,
    site,
  );
  const { scaling } = settings;
  const scale: number | Tensor = typeof scaling === 'number' ? scaling : tensorOf(context, `${site}.scale`);
  const scaled: Tensor2D = scale === 1 ? result : mul(result, scale);
  const dropped: Tensor3D = reshaped(dropout(scaled, settings.dropout, context, site), input.shape);
  if (settings.gate !== true) return dropped;
  return mul(dropped, gateOf(rows, input.shape, site, context));
}

/** The gate of every example, `[batch, 1, 1]`. */
function gateOf(
  rows: Tensor2D,
  [batchSize, sequenceLength]: readonly [number, number, number],
  site: string,
  context: AdapterContext,
): Tensor3D {
  const kernel = tensorOf<Tensor2D>(context, `${site}.gate.kernel`);
  const open = sigmoid(trainableLinear(rows, kernel, tensorOf<Tensor1D>(context, `${site}.gate.bias`)));
  return reshape(mean(reshape(open, [batchSize, sequenceLength]), 1), [batchSize, 1, 1]);
}

/** A(u) after its own norm, if it has one. */
export function normAfter(adapted: Tensor3D, site: string, context: AdapterContext): Tensor3D {
  const rows: Tensor2D = reshaped(adapted, [-1, adapted.shape[2]]);
  return reshaped(ownNorm(rows, `${site}.normAfter`, context), adapted.shape);
}
