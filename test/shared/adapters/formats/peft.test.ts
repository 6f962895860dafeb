/** PEFT's files, read and written. */
import { strict as assert } from 'node:assert';
import { peftFiles, readPeft, writePeft } from '../../../../shared/adapters/formats/peft.ts';
import { contentOf, fixture, fixtureBase, fixtureTensor, parsed } from './fixtures.ts';

const filesOf = (name: string) => ({
  configuration: fixture(name, peftFiles.configuration),
  tensors: fixture(name, peftFiles.tensors),
});

/** A configuration; PEFT holds its targets as a set. */
function sorted(configuration: Uint8Array): Record<string, unknown> {
  const document = parsed(configuration);
  const targets = document.target_modules;
  return Array.isArray(targets) ? { ...document, target_modules: (targets as string[]).toSorted() } : document;
}

describe('PEFT files', () => {
  for (const name of [
    'peft_bert_lora',
    'peft_bert_rslora',
    'peft_bert_dora',
    'peft_bert_vera',
    'peft_bert_ia3',
    'peft_bert_seqcls',
    'peft_gpt2_lora',
    'peft_gpt2_all_linear',
    'peft_gpt2_prefix',
    'peft_gpt2_prompt',
  ]) {
    it(`[PEFT-1:${name}] a file read and written again has the same bytes, and its configuration the same fields`, () => {
      const [base, baseTensor] = [fixtureBase(name), fixtureTensor(name)];
      const files = filesOf(name);
      const { saved, ...content } = readPeft(files, base, baseTensor);
      const asIs = new Map(
        [...saved].map(([key, { shape, bytes }]) => [
          key,
          { shape, values: new Float32Array(Uint8Array.from(bytes).buffer) },
        ]),
      );
      const written = writePeft({ ...content, base, saved: asIs, baseTensor });
      assert.deepEqual(contentOf(written.tensors), contentOf(files.tensors));
      const expected = { ...sorted(files.configuration), inference_mode: true };
      const found = sorted(written.configuration);
      assert.deepEqual({ ...found, ...expected }, found);
    });
  }
});
