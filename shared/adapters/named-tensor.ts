/** Reads the tensors of an adapter by name. */
import type { Tensor } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import type { AdapterContext } from './method.ts';

/** The trainable tensor `name`, of the rank that its layout gives it. */
export function tensorOf<Kind extends Tensor>({ parameters }: Pick<AdapterContext, 'parameters'>, name: string): Kind {
  const tensor = parameters.get(name);
  assert(tensor !== undefined, `the parameters hold no tensor ${name}`);
  return tensor as Kind;
}
