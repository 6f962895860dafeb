import { strict as assert } from 'node:assert';
import { UsageError } from '../../../shared/core/errors.ts';
import { encodeRows, type TextEncoding } from '../../../shared/data/encode.ts';
import { labelsOf } from '../../../shared/data/row.ts';

describe('encodeRows', () => {
  const tokenizer: TextEncoding = {
    encode: (text, lengthMax) => Int32Array.from(text.split(' ').filter(Boolean), Number).slice(0, lengthMax),
  };
  const row = (text: string, label: string) => ({ text, label, line: 1 });

  it('[ENC-1] maps labels to indices, cuts long texts and counts them', () => {
    const encoded = encodeRows([row('1 2 3', 'b'), row('4 5 6 7', 'a')], {
      tokenizer,
      labels: ['a', 'b'],
      lengthMax: 3,
    });
    assert.deepEqual(encoded, {
      examples: [
        { ids: Int32Array.of(1, 2, 3), targets: Int32Array.of(1) },
        { ids: Int32Array.of(4, 5, 6), targets: Int32Array.of(0) },
      ],
      truncatedCount: 1,
    });
  });

  it('[ENC-2] names a label that the task does not have, and a text without tokens', () => {
    const options = { tokenizer, labels: labelsOf([row('', 'b'), row('', 'a')]), lengthMax: 3 };
    assert.deepEqual(options.labels, ['a', 'b']);
    assert.throws(
      () => encodeRows([row('1', 'z')], options),
      (thrown: Error) => thrown instanceof UsageError && /"z".*"a", "b"/.test(thrown.message),
    );
    assert.throws(() => encodeRows([row(' ', 'a')], options), /no token/);
  });

  it('[ENC-3] tells a text that just fits from one that is cut', () => {
    const options = { tokenizer, labels: ['a', 'b'], lengthMax: 3 };
    assert.equal(encodeRows([row('1 2 3', 'a')], options).truncatedCount, 0);
    assert.equal(encodeRows([row('1 2 3 4', 'a')], options).truncatedCount, 1);
  });

  it('[ENC-4] does not list hundreds of labels in a message', () => {
    const labels = Array.from({ length: 150 }, (_, index) => `label ${index}`);
    assert.throws(
      () => encodeRows([row('1', 'z')], { tokenizer, labels, lengthMax: 3 }),
      (thrown: Error) => thrown.message.endsWith('and 138 more') && thrown.message.length < 400,
    );
  });
});
