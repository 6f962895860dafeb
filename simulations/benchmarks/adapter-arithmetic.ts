/**
 * Multiply-adds of one training step, counted from sizes and layouts: what a method must compute, whatever it does compute. A frozen map costs its size
 * per token forward and again back to its input, a trained one a third time for its gradient. Norms, activations and other work per value are
 * not counted.
 */
import type { BoundAdapter } from '../../shared/adapters/registry.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { BaseDescription, LinearTarget } from '../../shared/model/base-model.ts';
import type { StepShape } from './random-encoder.ts';

const passes = { frozen: 2, trained: 3 } as const;

/** Multiply-adds of a step of the base with an adapter: forward everywhere, back to the inputs of all above the lowest place at which it acts. */
export function stepArithmetic(adapter: BoundAdapter, base: BaseDescription, shape: StepShape): number {
  const { layers, width, feedForward, sequence, batch } = shape;
  const length = sequence + (adapter.virtualTokens ?? 0);
  const rows = batch * length;
  const attention = 2 * rows * length * width;
  const halves = { attention: rows * 4 * width * width + attention, feedForward: rows * 2 * width * feedForward };
  const layer = halves.attention + halves.feedForward;
  const { lowestLayerIndex = 0, below } = lowestPlace(adapter, base, { rows, width, feedForward, attention, halves });
  // Side by side, every adapter has its own copy of the batch from its lowest layer on.
  const copies = adapter.sideBySide?.length ?? 1;
  const back = copies * ((layers - 1 - lowestLayerIndex) * (layer + attention) + below);
  const forward = (lowestLayerIndex + copies * (layers - lowestLayerIndex)) * layer;
  const whole = adapter.method === 'full' ? layers * (layer - attention) : 0;
  return forward + back + whole + adapterArithmetic(adapter, shape, rows);
}

interface Parts {
  readonly rows: number;
  readonly width: number;
  readonly feedForward: number;
  readonly attention: number;
  readonly halves: { readonly attention: number; readonly feedForward: number };
}

/** The lowest layer that gradients reach, and what they cost in it. */
function lowestPlace(
  adapter: BoundAdapter,
  { linearTargets }: BaseDescription,
  { rows, width, feedForward, attention, halves }: Parts,
): { readonly lowestLayerIndex?: number; readonly below: number } {
  const hooks = adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(0) });
  const whole = halves.attention + halves.feedForward + attention;
  if (hooks.words ?? hooks.embedding ?? hooks.weight) return { below: whole };
  const lowest = hooks.lowestLayerIndex === undefined ? {} : { lowestLayerIndex: hooks.lowestLayerIndex };
  const acts = (target: LinearTarget): boolean =>
    hooks.linear !== undefined && linearTargets[target] !== undefined && (hooks.linearTargets?.has(target) ?? true);
  const output = rows * width * width;
  if (hooks.keysAndValues ?? (['q', 'k', 'v', 'qkv'] as const).some(acts))
    return { ...lowest, below: halves.feedForward + output + 2 * attention };
  if (acts('o') || adapter.tensors.some(({ name }) => name.includes('.attention.')) || adapter.method === 'hyperformer')
    return { ...lowest, below: halves.feedForward };
  return { ...lowest, below: acts('up') || acts('down') ? rows * width * feedForward : 0 };
}

/** Multiply-adds of the adapter itself. */
function adapterArithmetic(adapter: BoundAdapter, shape: StepShape, rows: number): number {
  const { configuration, method, tensors } = adapter;
  const { layers, width, batch, sequence } = shape;
  const number = (name: string): number => Number(configuration[name]);
  switch (method) {
    case 'vera': {
      const maps = tensors.filter(({ name }) => name.endsWith('.vera.b'));
      const size = maps.reduce((sum, { shape: [outSize] }) => sum + number('rank') * (width + outSize!), 0);
      return passes.frozen * rows * size;
    }
    case 'compacter': {
      const factors = tensors.filter(({ name }) => /\.(left|right)$/.test(name));
      // x W costs n (in + out) per row; a factor holds n · size / n values.
      const size = factors.reduce((sum, { shape: [n, part] }) => sum + n! * n! * part!, 0);
      return passes.trained * rows * size;
    }
    case 'prefix':
      return passes.trained * 2 * rows * number('length') * width * layers;
    case 'hyperformer': {
      const sites = 2 * layers;
      const generators = kernelsOf(tensors).reduce((sum, { size }) => sum + size, 0);
      const reduced = Math.max(1, Math.floor(width / number('reductionFactor')));
      return passes.trained * sites * (generators + rows * 2 * width * reduced);
    }
    default: {
      const share = (name: string): number => {
        if (name.includes('.experts.')) return number('choices') / number('experts');
        if (method === 'split' || method === 'batch-split') return 1 / (configuration.members as unknown[]).length;
        return 1;
      };
      const perRow = kernelsOf(tensors).reduce(
        (sum, { name, size, isFrozen }) => sum + size * share(name) * (isFrozen ? passes.frozen : passes.trained),
        0,
      );
      // The norm of every row of an adapted map is computed once a step.
      const norms = method === 'dora' ? tensors.filter(({ name }) => name.endsWith('lora.b')) : [];
      const formed = norms.reduce((sum, { shape: [outSize, rank] }) => sum + outSize! * rank! * width, 0);
      const ownRows = method === 'invertible' ? batch * sequence : rows;
      return ownRows * perRow + formed;
    }
  }
}

/** The matrices that rows are multiplied with. */
function kernelsOf(tensors: BoundAdapter['tensors']) {
  return tensors.flatMap(({ name, shape, aggregationClass }) => {
    const isKernel = shape.length === 2 && /(\.kernel|lora\.[ab])$/.test(name);
    return isKernel ? [{ name, size: shape[0]! * shape[1]!, isFrozen: aggregationClass === 'frozen' }] : [];
  });
}
