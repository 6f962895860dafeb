import { strict as assert } from 'node:assert';
import { editDistance, nearest } from '../../../shared/plan/nearest.ts';

describe('nearest', () => {
  it('[NEA-1] counts insertions, deletions and replacements', () => {
    assert.equal(editDistance('kitten', 'sitting'), 3);
    assert.equal(editDistance('', 'abc'), 3);
    assert.equal(editDistance('same', 'same'), 0);
  });

  it('[NEA-2] finds slips of case and letter, and nothing for another word', () => {
    assert.equal(nearest('learningrate', ['beta1', 'learningRate']), 'learningRate');
    assert.equal(nearest('quorom', ['count', 'quorum']), 'quorum');
    assert.equal(nearest('colour', ['count', 'quorum']), null);
    assert.equal(nearest('x'.repeat(10_000), ['x']), null);
  });
});
