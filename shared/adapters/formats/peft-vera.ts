/**
 * VeRA in PEFT's files (Kopiczko 2024): `….vera_lambda_d` `[r]` and `….vera_lambda_b` `[out]` per map, and once `base_model.vera_A`,
 * `base_model.vera_B`. Those come from PyTorch's generator, which nobody else has, so a file without them (`save_projection` false) is refused;
 * ours that come from a seed are written out.
 */

import type { BaseDescription, LinearSite } from '../../model/base-model.ts';
import { sitesOf } from '../linear-targets.ts';
import { type BoundAdapter, parseAdapter } from '../registry.ts';
import { type VeraConfiguration, vera } from '../vera.ts';
import { projectionShapes, projectionValues } from '../vera-projections.ts';
import { anything, count, type FieldRules, flag, layersOrNull, number, oneOf, probability } from './config-fields.ts';
import { modulesOf, pathOf } from './module-paths.ts';
import type { PeftMethod } from './peft-method.ts';
import { namesOfTargets, regularSelection, targetNames } from './peft-targets.ts';
import { pythonFloat } from './python-json.ts';

const rules: FieldRules = {
  r: count,
  target_modules: targetNames,
  vera_dropout: probability,
  d_initial: number,
  projection_prng_key: {
    expected: 'a whole number below 2^32',
    holds: (value) => Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32,
  },
  save_projection: {
    expected: 'true, for the projections must be in the file: save it with save_projection=True',
    holds: (value) => value === true,
  },
  bias: oneOf('none'),
  fan_in_fan_out: flag,
  init_weights: anything,
  layers_to_transform: layersOrNull,
  layers_pattern: anything,
};

function configurationOf({ configuration }: BoundAdapter, base: BaseDescription): VeraConfiguration {
  const { method: _, ...settings } = configuration;
  return vera.parse(settings, base);
}

/** The type `VERA`. */
export const peftVera: PeftMethod = {
  type: 'VERA',
  methods: ['vera'],
  hasSavedModules: true,
  rules,
  read: (configuration, reading) => {
    const { targets, layers } = regularSelection(configuration, reading);
    return {
      method: 'vera',
      targets,
      layers,
      rank: configuration.r ?? 256,
      dInitial: configuration.d_initial ?? 0.1,
      projections: 'stored',
      projectionSeed: configuration.projection_prng_key ?? 0,
      dropout: configuration.vera_dropout ?? 0,
    };
  },
  write: (adapter, base) => {
    const { targets, layers, rank, dInitial, dropout, projectionSeed } = configurationOf(adapter, base);
    const isChosen = ({ layerIndex, target }: LinearSite) => layers.includes(layerIndex) && targets.includes(target);
    return {
      bias: 'none',
      d_initial: pythonFloat(dInitial),
      fan_in_fan_out: modulesOf(base).storesInOut,
      init_weights: true,
      layers_pattern: null,
      layers_to_transform: layers.length === base.layerCount ? null : layers,
      projection_prng_key: projectionSeed,
      r: rank,
      save_projection: true,
      target_modules: namesOfTargets(base, isChosen, layers),
      vera_dropout: pythonFloat(dropout),
    };
  },
  toFile: ({ adapter, values }, base) => {
    const configuration = configurationOf(adapter, base);
    if (configuration.projections === 'stored') return { adapter, values };
    const shapes = projectionShapes(base, configuration);
    const projections = (['a', 'b'] as const).map(
      (factor) => [`vera.${factor}`, projectionValues(factor, shapes[factor], configuration)] as const,
    );
    const stored = parseAdapter({ ...adapter.configuration, projections: 'stored' }, base);
    return { adapter: stored, values: new Map([...projections, ...values]) };
  },
  tensors: (adapter, base, prefix) => {
    const configuration = configurationOf(adapter, base);
    const shapes = projectionShapes(base, configuration);
    return [
      { name: 'base_model.vera_A', shape: shapes.a, parts: ['vera.a'], transposed: false },
      { name: 'base_model.vera_B', shape: shapes.b, parts: ['vera.b'], transposed: false },
      ...sitesOf(configuration).flatMap((site) => {
        const stem = `${prefix}${pathOf(base, site)}`;
        const own = `layers.${site.layerIndex}.${site.target}.vera`;
        const { outSize } = base.linearTargets[site.target]!;
        return [
          { name: `${stem}.vera_lambda_b`, shape: [outSize], parts: [`${own}.b`], transposed: false },
          { name: `${stem}.vera_lambda_d`, shape: [configuration.rank], parts: [`${own}.d`], transposed: false },
        ];
      }),
    ];
  },
};
