/** The sample is frozen: its digests, and what its README promises. */
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import {
  generateSample,
  testRowsPerSite,
  toJsonLines,
  trainRowsPerSite,
  voices,
} from '../../../../simulations/quickstart/sample/generate.ts';
import { intents, testOnlyPhraseCount } from '../../../../simulations/quickstart/sample/voice.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('the sample', () => {
  const sample = generateSample();

  it('[SAM-1] is the same on every machine, as it was frozen before the first training', () => {
    assert.equal(sha256(toJsonLines(sample.train)), '65848039d6faef4b5c8ef4002d7501bfc768e318ee178746ca8ae12713eb421d');
    assert.equal(sha256(toJsonLines(sample.test)), 'b72999e54f9818adc8e24e1e5c9a257ff92090217c42b9b96328d77953844947');
    assert.equal(toJsonLines(generateSample().train), toJsonLines(sample.train));
  });

  it('[SAM-2] has the promised rows of every site, and no text twice', () => {
    for (const { name } of voices) {
      assert.equal(sample.train.filter(({ client }) => client === name).length, trainRowsPerSite);
      assert.equal(sample.test.filter(({ client }) => client === name).length, testRowsPerSite);
    }
    const texts = [...sample.train, ...sample.test].map(({ text }) => text);
    assert.equal(new Set(texts).size, texts.length);
    assert.ok(texts.every((text) => text.length > 5 && !/[[\]{}|]|undefined/.test(text)));
  });

  it('[SAM-3] has every label at every site, in the shares that the site declares', () => {
    for (const { name, topics } of voices) {
      assert.equal(
        intents.reduce((sum, intent) => sum + topics[intent].percent, 0),
        100,
      );
      for (const intent of intents) {
        const count = sample.train.filter(({ client, label }) => client === name && label === intent).length;
        assert.ok(Math.abs(count - (topics[intent].percent * trainRowsPerSite) / 100) < 1, `${name} ${intent}`);
      }
    }
  });

  it('[SAM-4] keeps two of eight phrases of each list for the test rows', () => {
    for (const { topics } of voices) for (const intent of intents) assert.equal(topics[intent].phrases.length, 8);
    assert.equal(testOnlyPhraseCount, 2);
    const phrase = 'eta on the replacement';
    const holds = ({ text }: { readonly text: string }) => text.toLowerCase().includes(phrase);
    assert.ok(!sample.train.some(holds));
    assert.ok(sample.test.some(holds));
  });
});
