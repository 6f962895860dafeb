import { strict as assert } from 'node:assert';
import { metricsOf } from '../../../shared/training/metrics.ts';
import { bindTask } from '../../../shared/training/tasks/registry.ts';
import { countTags, trainFrequentTags } from '../../../simulations/quickstart/frequent-tags.ts';

describe('frequent tags', () => {
  const labels = ['B-LOC', 'B-NAME', 'O'];
  const model = trainFrequentTags([
    { words: ['Paris', 'is', 'nice'], tags: ['B-LOC', 'O', 'O'] },
    { words: ['paris', 'Hilton'], tags: ['B-NAME', 'B-NAME'] },
    { words: ['PARIS'], tags: ['B-NAME'] },
    { words: ['may'], tags: ['O'] },
    { words: ['may'], tags: ['B-NAME'] },
  ]);

  it('[FRT-1] give every word its most frequent tag, in any case, ties by name, and strangers the most frequent of all', () => {
    assert.deepEqual(
      ['Paris', 'is', 'May', 'unknown'].map((word) => model.tagOf(word)),
      ['B-NAME', 'O', 'B-NAME', 'B-NAME'],
    );
  });

  it('[FRT-2] are counted word by word and entity by entity', () => {
    const task = bindTask({ kind: 'tokens', labels, lengthMax: 8 });
    const rows = [
      { words: ['Paris', 'is'], tags: ['B-LOC', 'O'] },
      { words: ['Hilton'], tags: ['B-NAME'] },
    ];
    const counts = countTags(model, rows, { labels, shape: task.shape });
    assert.deepEqual(counts.labels, { truth: [1, 1, 1], predicted: [0, 2, 1], correct: [0, 1, 1] });
    const { accuracy, entityF1, exampleCount } = metricsOf(counts, task.metrics);
    assert.deepEqual([accuracy, entityF1, exampleCount], [2 / 3, 0.5, 2]);
  });
});
