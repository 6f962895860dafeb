/**
 * (IA)³, infused adapter by inhibiting and amplifying inner activations (Liu 2022, section 3.3): trained vectors l, one at the start, that
 * scale the outputs of some linear maps, y = l ∘ (W x + c) with l `[out]`, or the inputs of others, y = W (l ∘ x) + c with l `[in]`.
 *
 * The two published variants differ in the feed-forward: `peft` scales what its second map reads, as the paper; `adapterhub` scales what
 * its first map gives, before the activation.
 */
import { add, mul, sub, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { UsageError } from '../core/errors.ts';
import type { BaseDescription, LinearSite, LinearTarget } from '../model/base-model.ts';
import { choiceField, sectionField } from '../plan/fields.ts';
import { type Problem, shown } from '../plan/problems.ts';
import { oneValues } from './initial-values.ts';
import { selectTargets, sitesOf, targetListField } from './linear-targets.ts';
import { valuesOf } from './merge-arithmetic.ts';
import type { AdapterMethod, MapChange } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';

/** Settings of `ia3` with defaults filled in. */
export interface Ia3Configuration extends LayerChoice {
  /** Which published variant decides the defaults of the next two. Default `peft`. */
  readonly variant: 'peft' | 'adapterhub';
  /** Maps whose outputs are scaled. Default: key and value, with `adapterhub` also `up`. */
  readonly outputs: readonly LinearTarget[];
  /** Maps whose inputs are scaled. Default: `down`, with `adapterhub` none. */
  readonly inputs: readonly LinearTarget[];
}

const defaults = {
  peft: { outputs: ['k', 'v'], inputs: ['down'] },
  adapterhub: { outputs: ['k', 'v', 'up'], inputs: [] },
} as const;

const schema = sectionField({
  variant: z._default(choiceField(['peft', 'adapterhub']), 'peft'),
  outputs: targetListField,
  inputs: targetListField,
  ...layerFields,
});

function parse(value: unknown, base: BaseDescription): Ia3Configuration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('ia3', schema, value), base, problems);
  const { variant } = others;
  const select = (field: 'outputs' | 'inputs') =>
    selectTargets(others[field], defaults[variant][field], base, problems, field);
  const [outputs, inputs] = [select('outputs'), select('inputs')];
  const twice = outputs.find((target) => inputs.includes(target));
  if (twice !== undefined)
    problems.push({ path: 'inputs', sentence: `must not name a map that outputs names, found ${shown(twice)}` });
  // Only the whole of a fused map has an input of its own.
  const part = inputs.find((target) => base.linearTargets.qkv !== undefined && ['q', 'k', 'v'].includes(target));
  if (part !== undefined)
    problems.push({ path: 'inputs', sentence: `must name qkv on a base that fuses it, found ${shown(part)}` });
  if (outputs.length + inputs.length === 0 && problems.length === 0)
    problems.push({ path: 'outputs', sentence: 'must name a linear map where inputs names none, found an empty list' });
  if (problems.length > 0) refuseSettings('ia3', problems);
  return { variant, outputs, inputs, ...chosen };
}

function scaleName({ layerIndex, target }: LinearSite): string {
  return `layers.${layerIndex}.${target}.ia3.scale`;
}

/** What of a map is scaled, or undefined where it is left alone. */
function sideAt({ layers, outputs, inputs }: Ia3Configuration, site: LinearSite): 'input' | 'output' | undefined {
  if (!layers.includes(site.layerIndex)) return undefined;
  if (outputs.includes(site.target)) return 'output';
  return inputs.includes(site.target) ? 'input' : undefined;
}

/** Multiplies a map with l, or divides it by l. */
function mapChange(direction: 'merge' | 'unmerge'): MapChange<Ia3Configuration> {
  return (_, configuration, site, { kernel, bias }, parameters) => {
    const side = sideAt(configuration, site);
    if (side === undefined) return undefined;
    const name = scaleName(site);
    const scale = valuesOf(parameters, name);
    if (direction === 'unmerge' && scale.includes(0)) {
      const message = `${name} has a scale of 0, which leaves nothing of what it scaled; load the base again`;
      throw new UsageError('cannot-unmerge', message, { context: { tensor: name } });
    }
    const outSize = side === 'output' ? scale.length : kernel.length / scale.length;
    const scaled = (value: number, place: number) =>
      direction === 'merge' ? value * scale[place]! : value / scale[place]!;
    return {
      kernel: kernel.map((value, index) =>
        scaled(value, side === 'output' ? index % outSize : Math.floor(index / outSize)),
      ),
      bias: side === 'output' && bias !== null ? bias.map(scaled) : bias,
    };
  };
}

/** The method `ia3`. */
export const ia3: AdapterMethod<Ia3Configuration> = {
  name: 'ia3',
  parse,
  layout: ({ linearTargets }, configuration) => {
    const { layers, outputs, inputs } = configuration;
    return sitesOf({ layers, targets: [...outputs, ...inputs] }).map((site) => {
      const { inSize, outSize } = linearTargets[site.target]!;
      const shape = [sideAt(configuration, site) === 'output' ? outSize : inSize];
      return { name: scaleName(site), shape, aggregationClass: 'mean', decays: false };
    });
  },
  initialise: ({ shape }) => oneValues(shape),
  hooks: (_, configuration, context) => ({
    lowestLayerIndex: Math.min(...configuration.layers),
    isTokenwise: true,
    linearTargets: new Set([...configuration.outputs, ...configuration.inputs]),
    linear: (site, input, output, map): Tensor2D | undefined => {
      const side = sideAt(configuration, site);
      if (side === undefined) return undefined;
      const scale = tensorOf<Tensor1D>(context, scaleName(site));
      if (side === 'output') return mul(output, scale);
      // What the scale changes, added to what is there: in a composition that may be more than the frozen map's.
      const change = map.apply(mul(input, sub(scale, 1)));
      const bias = map.bias(input);
      return add(output, bias === null ? change : sub(change, bias));
    },
  }),
  merge: mapChange('merge'),
  unmerge: mapChange('unmerge'),
};
