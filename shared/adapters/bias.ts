/**
 * Bias tuning (Ben Zaken 2022, BitFit, section 3) of linear maps, in chosen layers: y = W x + c + δ with δ `[out]` trained, zero at the
 * start. A base without biases (Llama) gets them. Those of layer norms stay frozen; `full` with `tensors` `biases` trains every bias that a
 * base has.
 */
import { add, type Tensor1D } from '@tensorflow/tfjs-core';
import { UsageError } from '../core/errors.ts';
import type { BaseDescription, LinearSite, LinearTarget } from '../model/base-model.ts';
import { sectionField } from '../plan/fields.ts';
import type { Problem } from '../plan/problems.ts';
import { zeroValues } from './initial-values.ts';
import { selectTargets, sitesOf, targetsField } from './linear-targets.ts';
import { valuesOf } from './merge-arithmetic.ts';
import type { AdapterMethod, MapChange } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';

/** Settings of `bias` with defaults filled in. */
export interface BiasConfiguration extends LayerChoice {
  /** Linear maps of every layer. In a plan also `all-linear` (default). */
  readonly targets: readonly LinearTarget[];
}

const schema = sectionField({ targets: targetsField, ...layerFields });

function parse(value: unknown, base: BaseDescription): BiasConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('bias', schema, value), base, problems);
  const targets = selectTargets(others.targets ?? 'all-linear', [], base, problems);
  if (problems.length > 0) refuseSettings('bias', problems);
  return { targets, ...chosen };
}

/** The name of a map's δ, or undefined where the map is left alone. */
function nameAt({ layers, targets }: BiasConfiguration, { layerIndex, target }: LinearSite): string | undefined {
  return layers.includes(layerIndex) && targets.includes(target) ? `layers.${layerIndex}.${target}.bias` : undefined;
}

/** Adds `sign` δ to the bias of a map. */
function mapChange(sign: 1 | -1): MapChange<BiasConfiguration> {
  return (base, configuration, site, { kernel, bias }, parameters) => {
    const name = nameAt(configuration, site);
    if (name === undefined) return undefined;
    if (bias === null) {
      const message = `the ${base.family} has no bias at ${name} to hold the adapter's; serve the adapter beside its base`;
      throw new UsageError('not-mergeable', message, { context: { tensor: name } });
    }
    const delta = valuesOf(parameters, name);
    return { kernel, bias: bias.map((value, output) => value + sign * delta[output]!) };
  };
}

/** The method `bias`. */
export const bias: AdapterMethod<BiasConfiguration> = {
  name: 'bias',
  parse,
  layout: ({ linearTargets }, configuration) =>
    sitesOf(configuration).map((site) => {
      const shape = [linearTargets[site.target]!.outSize];
      return { name: nameAt(configuration, site)!, shape, aggregationClass: 'mean', decays: false };
    }),
  initialise: ({ shape }) => zeroValues(shape),
  hooks: (_, configuration, context) => ({
    lowestLayerIndex: Math.min(...configuration.layers),
    isTokenwise: true,
    linearTargets: new Set(configuration.targets),
    linear: (site, _input, output) => {
      const name = nameAt(configuration, site);
      return name === undefined ? undefined : add(output, tensorOf<Tensor1D>(context, name));
    },
  }),
  merge: mapChange(1),
  unmerge: mapChange(-1),
};
