import { strict as assert } from 'node:assert';
import { noCounts, startCounts } from '../../../shared/training/counts.ts';
import { countEntities, entitiesOf, entityTypesOf } from '../../../shared/training/entities.ts';
import { metricsOf } from '../../../shared/training/metrics.ts';
import { bindTask } from '../../../shared/training/tasks/registry.ts';

const spansOf = (tags: string) =>
  entitiesOf(tags.split(' ')).map(({ type, first, last }) => `${type} ${first}-${last}`);

describe('entitiesOf', () => {
  it('[TEN-1] finds what the documentation of seqeval finds in its example', () => {
    assert.deepEqual(spansOf('B-PER I-PER O B-LOC'), ['PER 0-1', 'LOC 3-3']);
  });

  it('[TEN-2] follows the transitions of conlleval', () => {
    assert.deepEqual(spansOf('O I-PER I-PER O'), ['PER 1-2'], 'an inside tag begins an entity after O');
    assert.deepEqual(spansOf('B-PER I-LOC'), ['PER 0-0', 'LOC 1-1'], 'another type begins another entity');
    assert.deepEqual(spansOf('B-PER B-PER I-PER'), ['PER 0-0', 'PER 1-2']);
    assert.deepEqual(spansOf('I-PER I-PER B-PER'), ['PER 0-1', 'PER 2-2'], 'IOB1: B between neighbours of one type');
    assert.deepEqual(spansOf('S-PER B-LOC I-LOC E-LOC I-LOC'), ['PER 0-0', 'LOC 1-3', 'LOC 4-4']);
    assert.deepEqual(spansOf('O O'), []);
    assert.deepEqual(spansOf('B-PER'), ['PER 0-0'], 'the end of a sequence ends an entity');
    assert.deepEqual(spansOf('B-MEDICAL-UNIT I-MEDICAL-UNIT'), ['MEDICAL-UNIT 0-1']);
    assert.deepEqual(spansOf('NOUN VERB'), [], 'tags of other forms are no entities');
  });

  it('[TEN-3] names the types of a tag set in order', () => {
    assert.deepEqual(entityTypesOf(['O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC']), ['LOC', 'PER']);
    assert.deepEqual(entityTypesOf(['NOUN', 'VERB']), []);
  });
});

describe('countEntities', () => {
  const tags = ['O', 'B-MISC', 'I-MISC', 'B-PER', 'I-PER'];
  const task = bindTask({ kind: 'tokens', labels: tags, lengthMax: 32 });

  it('[TEN-4] gives F1 0.5 on the published example of seqeval, by type MISC 0 and PER 1', () => {
    const truth = [
      ['O', 'O', 'O', 'B-MISC', 'I-MISC', 'I-MISC', 'O'],
      ['B-PER', 'I-PER', 'O'],
    ];
    const predicted = [
      ['O', 'O', 'B-MISC', 'I-MISC', 'I-MISC', 'I-MISC', 'O'],
      ['B-PER', 'I-PER', 'O'],
    ];
    const counts = startCounts(task.shape);
    for (const [index, sequence] of truth.entries())
      countEntities(counts, ['MISC', 'PER'], { truth: sequence, predicted: predicted[index]! });
    assert.deepEqual(counts.entities, { truth: [1, 1], predicted: [1, 1], correct: [0, 1] });
    const { entityF1, macroF1 } = metricsOf(counts, task.metrics);
    assert.deepEqual([entityF1, macroF1], [0.5, 0.5]);
  });

  it('[TEN-5] needs borders and type to be right', () => {
    const counts = startCounts(task.shape);
    const count = (truth: string, predicted: string) =>
      countEntities(counts, ['MISC', 'PER'], { truth: truth.split(' '), predicted: predicted.split(' ') });
    count('B-PER I-PER O', 'B-PER O O');
    count('B-PER I-PER', 'B-MISC I-MISC');
    count('B-PER B-PER', 'B-PER I-PER');
    assert.deepEqual(counts.entities, { truth: [0, 4], predicted: [1, 2], correct: [0, 0] });
    assert.deepEqual(noCounts(task.shape).entities.truth, [0, 0]);
  });
});
