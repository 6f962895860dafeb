/**
 * No adapter: a linear probe (Alain and Bengio 2016) of the frozen base, scores = W h + c with h `[hidden]` pooled from its last states and W
 * `[hidden, labels]`, c `[labels]` of the head, which alone trains. The control that every adapter must beat. It has no settings.
 */
import { sectionField } from '../plan/fields.ts';
import type { AdapterMethod } from './method.ts';
import { parseSettings } from './settings.ts';

const schema = sectionField({});

/** The method `none`. */
export const none: AdapterMethod<Record<string, never>> = {
  name: 'none',
  parse: (configuration) => parseSettings('none', schema, configuration),
  layout: () => [],
  initialise: () => new Float32Array(0),
  hooks: () => ({}),
};
