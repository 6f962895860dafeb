import { strict as assert } from 'node:assert';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logSoftmax, memory, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { pretrainedFolder, readBaseFiles } from '../../../shared/model/load.node.ts';
import { baseModelFrom, networkFrom } from '../../../shared/model/load.ts';
import { largestError } from './fixtures.ts';

const dataFolder = process.env.TRIBUTARY_DATA ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
const bertFolder = join(dataFolder, 'weights/bert-xsmall-dummy');

describe('bert-xsmall-dummy, a checkpoint as published', () => {
  before(function () {
    if (existsSync(join(bertFolder, 'reference.json'))) return;
    console.error(`      not run: ${bertFolder} is not there; set TRIBUTARY_DATA to the folder of the data sets`);
    this.skip();
  });

  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[PUB-1] gives the last hidden state of an independent forward pass, with token types, on ${backend}`, async () => {
      await useBackend(backend);
      const reference = JSON.parse(readFileSync(join(bertFolder, 'reference.json'), 'utf8')) as {
        input_ids: number[];
        token_type_ids: number[];
        last_hidden_state: number[][];
      };
      const model = networkFrom(await readBaseFiles(bertFolder));
      tidy(() => {
        const row = (ids: number[]) => tensor2d(ids, [1, ids.length], 'int32');
        const hidden = model.encode({
          inputIds: row(reference.input_ids),
          attentionMask: row(reference.input_ids.map(() => 1)),
          tokenTypeIds: row(reference.token_type_ids),
        });
        const error = largestError(hidden.dataSync(), reference.last_hidden_state.flat());
        assert.ok(error <= 2e-4, `the last hidden state is off by ${error}`);
        assert.throws(() => model.languageModelScores(hidden), /bare encoder: it has no cls\.predictions tensors/);
      });
      model.dispose();
    });
  }
});

describe('the base that ships', () => {
  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[PUB-2] predicts English far better than chance, on ${backend}`, async () => {
      await useBackend(backend);
      const before = memory().numTensors;
      const { model, tokenizer } = await baseModelFrom(await readBaseFiles(pretrainedFolder()));
      const ids = tokenizer.encode('The patient should see a doctor if the symptoms do not go away.', 128);
      tidy(() => {
        const inputIds = tensor2d(ids, [1, ids.length], 'int32');
        const attentionMask = tensor2d(new Int32Array(ids.length).fill(1), [1, ids.length], 'int32');
        const hidden = model.encode({ inputIds, attentionMask });
        const logarithms = logSoftmax(model.languageModelScores(hidden)).dataSync();
        let surprise = 0;
        for (let position = 1; position < ids.length; position++)
          surprise -= logarithms[(position - 1) * model.description.vocabularySize + ids[position]!]!;
        // Chance is ln 6144 = 8.7 nats per token; the model card names 3.6 to 4.5 on held-out text.
        assert.ok(surprise / (ids.length - 1) < 4, `${surprise / (ids.length - 1)} nats per token`);
      });
      model.dispose();
      assert.equal(memory().numTensors, before);
    });
  }
});
