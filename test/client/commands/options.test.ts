import { strict as assert } from 'node:assert';
import { Command, InvalidArgumentError } from 'commander';
import {
  type ActivationOptions,
  activationSettings,
  adapterSettings,
  addActivationOptions,
  numberIn,
  wholeNumber,
} from '../../../client/commands/options.ts';

describe('wholeNumber', () => {
  it('[OPT-1] takes whole numbers from its bound and nothing else', () => {
    const parse = wholeNumber(1);
    assert.deepEqual(['1', '12', '1e3'].map(parse), [1, 12, 1000]);
    for (const text of ['0', '-1', '1.5', '', ' ', 'x', '1x', 'Infinity', '1e300'])
      assert.throws(() => parse(text), InvalidArgumentError, text);
  });
});

describe('numberIn', () => {
  it('[OPT-2] takes numbers in its range, bounds as named', () => {
    const parse = numberIn({ above: 0, below: 1 });
    assert.deepEqual(['0.5', '1e-9'].map(parse), [0.5, 1e-9]);
    for (const text of ['0', '1', '', 'x', 'NaN']) assert.throws(() => parse(text), InvalidArgumentError, text);
    assert.equal(numberIn({ atLeast: 0 })('0'), 0);
    assert.throws(() => numberIn({ atLeast: 0 })('-0.1'), /Expected a number of at least 0\./);
  });
});

describe('adapterSettings', () => {
  it('[OPT-3] joins the method with its settings, and needs none', async () => {
    assert.deepEqual(await adapterSettings('lora', undefined), { method: 'lora' });
    assert.deepEqual(await adapterSettings('lora', ' {"rank":4}'), { rank: 4, method: 'lora' });
    assert.deepEqual(await adapterSettings('lora', '{"method":"lora"}'), { method: 'lora' });
  });

  it('[OPT-4] refuses what is no object, and settings of another method', async () => {
    await assert.rejects(adapterSettings('lora', '{"rank":4'), { code: 'bad-adapter-config' });
    await assert.rejects(adapterSettings('lora', '{"method":"bottleneck"}'), /is for the method "bottleneck"/);
    await assert.rejects(adapterSettings('lora', '/no/such/file.json'), /cannot be read/);
  });
});

describe('the options of kept states', () => {
  it('[OPT-5] give memory, disk and precision; by default 256 MiB, none, and float32', () => {
    const settings = (...words: readonly string[]) =>
      activationSettings(addActivationOptions(new Command()).parse(words, { from: 'user' }).opts<ActivationOptions>());
    assert.deepEqual(settings(), { bytesMax: 2 ** 28, spillBytesMax: 0, precision: 'float32' });
    assert.deepEqual(
      settings('--activation-cache', '1', '--activation-cache-spill', '2', '--activation-precision', 'float16'),
      { bytesMax: 2 ** 20, spillBytesMax: 2 ** 21, precision: 'float16' },
    );
  });
});
