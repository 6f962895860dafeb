/** AdapterHub's files, read and written. */
import { strict as assert } from 'node:assert';
import { readAdapterHub, writeAdapterHub } from '../../../../shared/adapters/formats/adapterhub.ts';
import { utf8 } from '../../../../shared/core/bytes.ts';
import type { BaseDescription } from '../../../../shared/model/base-model.ts';
import { contentOf, fixture, fixtureBase, parsed } from './fixtures.ts';

const families = ['bert', 'roberta', 'distilbert', 'gpt2'];
const cases = [
  'pfeiffer',
  'pfeiffer_gelu_scaled',
  'pfeiffer_per_layer',
  'pfeiffer_top_only',
  'houlsby',
  'parallel',
  'parallel_learned_scale',
  'lora_qv',
  'lora_all',
  'ia3',
  'prefix',
  'compacter',
];

function filesOf(family: string, name: string) {
  const entry = parsed(fixture(family, 'cases.json'))[name] as { readonly adapters: { readonly a: object } };
  const configuration = entry.adapters.a;
  return {
    inner: configuration,
    configuration: utf8(JSON.stringify({ name: 'a', config: configuration, version: 'adapters.1.2.0' })),
    tensors: fixture(family, 'adapters', `${name}.safetensors`),
  };
}

/** How values were made is no part of an adapter: a file does not say it once more. */
const starts = { init_weights: null };

describe('AdapterHub files', () => {
  for (const family of families) {
    describe(family, () => {
      let base: BaseDescription;
      before(() => {
        base = fixtureBase(family);
      });
      for (const name of cases) {
        it(`[AHUB-1:${family}/${name}] a file read and written again has the same bytes, and its configuration the same fields`, () => {
          const files = filesOf(family, name);
          const content = readAdapterHub(files, base);
          const written = writeAdapterHub({ ...content, base });
          assert.deepEqual(contentOf(written.tensors), contentOf(files.tensors));
          const { config, ...envelope } = parsed(written.configuration);
          const found = config as object;
          assert.deepEqual({ ...found, ...files.inner, ...starts }, { ...found, ...starts });
          assert.equal(envelope.name, 'a');
          assert.deepEqual(envelope.model_type, family);
        });
      }
    });
  }
});
