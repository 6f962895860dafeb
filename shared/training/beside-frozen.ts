/**
 * An adapter with low-rank pairs that act beside it and are not trained: what a federation published and this client does not train, such as a
 * stack of earlier rounds or ranks beyond its own. Both add to the same frozen maps: y = W x + s B A x + s B' A' x.
 */
import { keep, type Tensor, tensor1d } from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../adapters/method.ts';
import { assert } from '../core/assert.ts';
import type { SiteHooks } from '../model/base-model.ts';
import { nameTensors, splitFlat } from './parameters.ts';
import type { LaidOutAdapter } from './plan-adapters.ts';
import type { TaskAdapter } from './task-model.ts';

/** An adapter whose frozen company changes from round to round. */
export interface BesideFrozen {
  readonly adapter: TaskAdapter;
  /** Sets what acts beside the adapter from now on, in the order of what is published; null for nothing. */
  readonly use: (values: Float32Array | null) => void;
  /** Frees what acts beside it. */
  readonly dispose: () => void;
}

/** Nothing acts beside it yet. @param published the same pairs as `trained`, perhaps with more ranks. */
export function besideFrozen(trained: LaidOutAdapter, published: LaidOutAdapter): BesideFrozen {
  let company: ReadonlyMap<string, Tensor> | null = null;
  const dispose = (): void => {
    for (const tensor of company?.values() ?? []) tensor.dispose();
    company = null;
  };
  return {
    adapter: {
      ...trained.adapter,
      hooks: (context) => {
        const own = trained.adapter.hooks(context);
        return company === null ? own : added(own, published.adapter.hooks(frozenContext(context, company)));
      },
    },
    use: (values) => {
      dispose();
      if (values === null) return;
      assert(published.adapter.method === 'lora', 'only pairs of the method lora act beside an adapter');
      const flat = tensor1d(values);
      const tensors = splitFlat(flat, published.layout).map((tensor) => keep(tensor));
      flat.dispose();
      company = nameTensors(tensors, published.layout);
    },
    dispose,
  };
}

function frozenContext({ random }: AdapterContext, parameters: ReadonlyMap<string, Tensor>): AdapterContext {
  return { parameters, random, training: false };
}

/** Hooks that add what the frozen pairs add, and then what the trained ones do: both read the same input. */
function added(own: SiteHooks, frozen: SiteHooks): SiteHooks {
  return {
    ...own,
    linear: (site, input, output, map) => {
      const base = frozen.linear?.(site, input, output, map) ?? output;
      return own.linear?.(site, input, base, map) ?? base;
    },
  };
}
