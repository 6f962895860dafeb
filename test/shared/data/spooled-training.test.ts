import { strict as assert } from 'node:assert';
import { useBackend } from '../../../shared/compute/backend.ts';
import type { EncodedExample } from '../../../shared/data/encode.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { spoolExamples } from '../../../shared/data/spool.node.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fakeAdapter, fakeClassifier, fakeExamples, noAdapter } from '../training/fake-base.ts';

async function* stream(examples: readonly EncodedExample[]): AsyncGenerator<EncodedExample> {
  yield* examples;
}

describe('training on spooled examples', () => {
  before(async () => {
    await useBackend('cpu');
  });

  it('[SPO-6] gives the same bytes and the same metrics as in memory, with an adapter and with a head alone', async () => {
    const examples = fakeExamples(50, 1);
    const spooled = await spoolExamples(stream(examples), { vocabularySize: 500 });
    const configuration = { ...defaultTraining, localEpochs: 2, batchSize: 8 };
    for (const adapter of [fakeAdapter, noAdapter]) {
      const results = [];
      for (const source of [memorySource(examples), spooled]) {
        const model = fakeClassifier({ adapter });
        const { parameters } = await trainLocally({
          model,
          start: model.initialise(1),
          source,
          configuration,
          seed: 3,
        });
        results.push({ parameters, metrics: await evaluate({ model, parameters, source }) });
      }
      assert.deepEqual(results[1], results[0]);
    }
    await spooled.close();
  });
});
