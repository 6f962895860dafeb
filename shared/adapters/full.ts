/**
 * The base itself in training (Devlin 2019, section 3.2, fine-tuning): w' = w + δ for every tensor w of the checkpoint, or for its norms or its biases
 * alone (Ben Zaken 2022, BitFit), with δ of the shape of w, such as `[in, out]`, and zero at the start. It is what adapters are compared with: its update is as large as the base.
 */
import { add } from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { choiceField, sectionField } from '../plan/fields.ts';
import { shown } from '../plan/problems.ts';
import { zeroValues } from './initial-values.ts';
import type { AdapterMethod } from './method.ts';
import { parseSettings, refuseSettings } from './settings.ts';

/** Settings of `full` with defaults filled in. */
export interface FullConfiguration {
  /** Which tensors are trained. Default `all`. */
  readonly tensors: 'all' | 'norms' | 'biases';
}

const patterns: Readonly<Record<FullConfiguration['tensors'], RegExp>> = {
  all: /^/,
  norms: /(^|[._])(LayerNorm|layer_?norm|norm|ln_(\d+|f))\.(weight|bias)$/,
  biases: /\.bias$/,
};
const prefix = 'base.';

const schema = sectionField({ tensors: z._default(choiceField(['all', 'norms', 'biases']), 'all') });

/** The method `full`. */
export const full: AdapterMethod<FullConfiguration> = {
  name: 'full',
  parse: (configuration, base) => {
    const settings = parseSettings('full', schema, configuration);
    const { tensors: known, family } = base;
    if (![...known.keys()].some((name) => patterns[settings.tensors].test(name))) {
      const sentence = `must be another, since this ${family} has no ${settings.tensors}, found ${shown(settings.tensors)}`;
      refuseSettings('full', [{ path: 'tensors', sentence }]);
    }
    return settings;
  },
  layout: ({ tensors: known }, { tensors }) =>
    [...known]
      .filter(([name]) => patterns[tensors].test(name))
      .map(([name, shape]) => ({
        name: `${prefix}${name}`,
        shape,
        aggregationClass: 'mean',
        // Decay pulls towards the base, not towards zero.
        decays: shape.length > 1,
      })),
  initialise: ({ shape }) => zeroValues(shape),
  hooks: (_, __, { parameters }) => ({
    isTokenwise: true,
    weight: (name, frozen) => {
      const change = parameters.get(`${prefix}${name}`);
      return change === undefined ? undefined : add(frozen, change);
    },
  }),
};
