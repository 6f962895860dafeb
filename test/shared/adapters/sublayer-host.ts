/** A host for adapters at the ends of sublayers, without a network around it. */
import { add, div, mean, sqrt, square, sub, type Tensor, type Tensor3D, tensor } from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../../../shared/adapters/method.ts';
import type { BoundAdapter } from '../../../shared/adapters/registry.ts';
import { finishSublayer } from '../../../shared/adapters/sublayer-change.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { BaseDescription, SublayerSite } from '../../../shared/model/base-model.ts';

/** Layer norm without gain and bias, as the golden vectors have it. */
function hostNorm(input: Tensor3D): Tensor3D {
  const centred = sub(input, mean(input, -1, true));
  return div(centred, sqrt(add(mean(square(centred), -1, true), 1e-12)));
}

/** A sublayer's output h and its residual input x. */
export interface SublayerStates {
  readonly output: Tensor3D;
  readonly residual: Tensor3D;
}

/** Normal states `[batch, sequence, hidden]`. */
export function randomStates(shape: [number, number, number], seed = 1): SublayerStates {
  const random = seededRandom(seed, 'states');
  const draw = (): Tensor3D => {
    const size = shape[0] * shape[1] * shape[2];
    return tensor(
      Float32Array.from({ length: size }, () => random.normal()),
      shape,
    );
  };
  return { output: draw(), residual: draw() };
}

/** What a host makes of a sublayer: what the hook returns, else the sum, normed on a post-norm base. */
export function hostResult(
  adapter: Pick<BoundAdapter, 'hooks'>,
  context: AdapterContext,
  { norm }: Pick<BaseDescription, 'norm'>,
  { output, residual }: SublayerStates,
  site: SublayerSite = { layerIndex: 0, sublayer: 'feedForward' },
): Tensor3D {
  const own = norm === 'post' ? hostNorm : undefined;
  return adapter.hooks(context).sublayer?.(site, output, residual, own) ?? finishSublayer(output, residual, own);
}

/** The entries of a composition that belong to one member, by the member's own names. */
export function tensorsOf(id: string, parameters: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const own = [...parameters].filter(([name]) => name.startsWith(`${id}.`));
  return new Map(own.map(([name, value]) => [name.slice(id.length + 1), value]));
}
