/** No adapter: only the head trains. The control that every adapter must beat. It has no settings. */
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
