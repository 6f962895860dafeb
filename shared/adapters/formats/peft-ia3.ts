/**
 * (IA)³ in PEFT's files (Liu 2022): `….ia3_l` is `[out, 1]` where a map's output is scaled and `[1, in]` where its input is, which
 * `feedforward_modules` names. Of a fused query, key and value map PEFT scales the whole: parts are written with ones for the rest.
 */
import type { BaseDescription, LinearSite, LinearTarget } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import { type Ia3Configuration, ia3 } from '../ia3.ts';
import { type BoundAdapter, parseAdapter } from '../registry.ts';
import { anything, type FieldRules, flag } from './config-fields.ts';
import { modulesOf, pathOf } from './module-paths.ts';
import type { FilledAdapter, PeftMethod, PeftReading } from './peft-method.ts';
import { namesOfTargets, regularSelection, targetNames, targetNamesOrNull } from './peft-targets.ts';

const rules: FieldRules = {
  target_modules: targetNames,
  exclude_modules: targetNamesOrNull,
  feedforward_modules: targetNamesOrNull,
  fan_in_fan_out: flag,
  init_ia3_weights: anything,
};

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): Ia3Configuration {
  const { method: _, ...settings } = configuration;
  return ia3.parse(settings, base);
}

function read(configuration: Configuration, reading: PeftReading) {
  const { targets, layers } = regularSelection(configuration, reading);
  const names = configuration.feedforward_modules ?? [];
  const isEmpty = Array.isArray(names) && names.length === 0;
  const inputs = isEmpty ? [] : regularSelection({ target_modules: names }, reading).targets;
  return {
    method: 'ia3',
    outputs: targets.filter((target) => !inputs.includes(target)),
    inputs: targets.filter((target) => inputs.includes(target)),
    layers,
  };
}

const parts: readonly LinearTarget[] = ['q', 'k', 'v'];

/** Scales of parts of a fused map as one of the whole. */
function whole({ adapter, values }: FilledAdapter, base: BaseDescription): FilledAdapter {
  const { outputs, ...configuration } = configurationOf(adapter, base);
  const fused = base.linearTargets.qkv;
  if (fused === undefined || !outputs.some((target) => parts.includes(target))) return { adapter, values };
  const others = outputs.filter((target) => !parts.includes(target));
  const joined = parseAdapter({ ...configuration, method: 'ia3', outputs: ['qkv', ...others] }, base);
  const own = new Map(values);
  for (const layer of configuration.layers) {
    const scale = new Float32Array(fused.outSize).fill(1);
    let start = 0;
    for (const part of parts) {
      const name = `layers.${layer}.${part}.ia3.scale`;
      scale.set(own.get(name) ?? [], start);
      own.delete(name);
      start += base.linearTargets[part]!.outSize;
    }
    own.set(`layers.${layer}.qkv.ia3.scale`, scale);
  }
  return { adapter: joined, values: own };
}

/** The type `IA3`. */
export const peftIa3: PeftMethod = {
  type: 'IA3',
  methods: ['ia3'],
  hasSavedModules: true,
  rules,
  read,
  write: (adapter, base) => {
    const { outputs, inputs, layers } = configurationOf(adapter, base);
    // There is no field for layers here, so names must not mean others.
    const every = Array.from({ length: base.layerCount }, (_, layer) => layer);
    const namesOf = (targets: readonly LinearTarget[]) => {
      const isChosen = ({ layerIndex, target }: LinearSite) => layers.includes(layerIndex) && targets.includes(target);
      return namesOfTargets(base, isChosen, every);
    };
    return {
      fan_in_fan_out: modulesOf(base).storesInOut,
      feedforward_modules: namesOf(inputs),
      init_ia3_weights: true,
      target_modules: namesOf([...outputs, ...inputs]),
    };
  },
  toFile: whole,
  tensors: (adapter, base, prefix) => {
    const { outputs, inputs, layers } = configurationOf(adapter, base);
    return layers.flatMap((layerIndex) =>
      [...outputs, ...inputs].map((target) => {
        const { inSize, outSize } = base.linearTargets[target]!;
        return {
          name: `${prefix}${pathOf(base, { layerIndex, target })}.ia3_l`,
          shape: outputs.includes(target) ? [outSize, 1] : [1, inSize],
          parts: [`layers.${layerIndex}.${target}.ia3.scale`],
          transposed: false,
        };
      }),
    );
  },
};
