import { strict as assert } from 'node:assert';
import { UsageError } from '../../../shared/core/errors.ts';
import { encodeText, labelIndexOf } from '../../../shared/data/encode.ts';

const tokenizer = {
  encode: (text: string, lengthMax: number) =>
    Int32Array.from(text.split(' ').filter(Boolean), Number).slice(0, lengthMax),
};

describe('encodeText', () => {
  const encode = (text: string) => encodeText(text, { tokenizer, lengthMax: 3, line: 7 });

  it('[EEN-1] tells a text that just fits from one that is cut', () => {
    assert.deepEqual(encode('1 2 3'), { ids: Int32Array.of(1, 2, 3), isCut: false });
    assert.deepEqual(encode('4 5 6 7'), { ids: Int32Array.of(4, 5, 6), isCut: true });
  });

  it('[EEN-3] refuses a text without tokens, by its line', () => {
    assert.throws(() => encode(' '), /line 7 has no token/);
  });
});

describe('labelIndexOf', () => {
  it('[EEN-2] gives the place of a label, and names one that the task does not have', () => {
    const indexOf = labelIndexOf(['a', 'b']);
    assert.deepEqual([indexOf('b', 1), indexOf('a', 1)], [1, 0]);
    assert.throws(
      () => indexOf('z', 4),
      (thrown: Error) => thrown instanceof UsageError && /line 4 has the label "z".*"a", "b"/.test(thrown.message),
    );
  });

  it('[EEN-4] does not list hundreds of labels in a message', () => {
    const indexOf = labelIndexOf(Array.from({ length: 150 }, (_, index) => `label ${index}`));
    assert.throws(
      () => indexOf('z', 1),
      (thrown: Error) => thrown.message.endsWith('and 138 more') && thrown.message.length < 400,
    );
  });
});
