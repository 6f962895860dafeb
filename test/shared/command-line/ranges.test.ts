import { strict as assert } from 'node:assert';
import { rangesOf } from '../../../shared/command-line/ranges.ts';

describe('ranges', () => {
  it('[RNG-7] name numbers that follow each other by the first and the last', () => {
    assert.equal(rangesOf([]), '');
    assert.equal(rangesOf([4]), '4');
    assert.equal(rangesOf([1, 2, 3, 5, 8, 9]), '1 to 3, 5, 8 to 9');
  });
});
