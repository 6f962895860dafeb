import { strict as assert } from 'node:assert';
import { type AdapterDocument, createAdapterDocument } from '../../../../shared/adapters/adapter-document.ts';
import { adapterOnBase } from '../../../../shared/adapters/document-on-base.ts';
import {
  dropAndRescale,
  electAndMerge,
  keepLargest,
  weightedSum,
} from '../../../../shared/adapters/merging/elementwise.ts';
import { mergeDocuments } from '../../../../shared/adapters/merging/merge-documents.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { UsageError } from '../../../../shared/core/errors.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import { taskLayout } from '../../../../shared/training/initial-adapter.ts';
import { unflatten } from '../../../../shared/update/vector.ts';
import { bertLike } from '../bases.ts';
import { assertClose } from '../checks.ts';

const base = bertLike(2, 6, 12);
const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;

/** An adapter with normal values. */
function documentOf(adapter: Plan['adapter'], seed: number, of: Plan['task'] = task): AdapterDocument {
  const bound = parseAdapter(adapter, base);
  const layout = taskLayout(bound, base, of);
  const random = seededRandom(seed, 'merging');
  const parameters = Float32Array.from({ length: layout.dim }, () => random.normal());
  return createAdapterDocument({ base, adapter: bound.configuration, task: of, layout, parameters });
}

const lora = (further: object = {}) => ({ method: 'lora', targets: ['q'], layers: [1], rank: 2, alpha: 6, ...further });
const values = ({ layout, parameters }: AdapterDocument) => unflatten(layout, parameters);

/** s B A of the one map, `[out, in]` row after row; s from the document's own settings. */
function changeOf(document: AdapterDocument): number[] {
  const { rank, alpha, rankPattern, alphaPattern } = document.adapter as unknown as Record<string, never>;
  const own = (pattern: Record<string, number>, otherwise: number) => Object.values(pattern ?? {})[0] ?? otherwise;
  const [r, s] = [own(rankPattern!, rank!), own(alphaPattern!, alpha!) / own(rankPattern!, rank!)];
  const [a, b] = ['a', 'b'].map((factor) => values(document).get(`layers.1.q.lora.${factor}`)!) as [
    Float32Array,
    Float32Array,
  ];
  return Array.from({ length: 36 }, (_, index) => {
    const [row, column] = [Math.floor(index / 6), index % 6];
    return s * Array.from({ length: r }, (__, k) => b[row * r + k]! * a[k * 6 + column]!).reduce((x, y) => x + y);
  });
}

const sumOf = (documents: readonly AdapterDocument[], weights: readonly number[]) =>
  Array.from({ length: 36 }, (_, index) =>
    documents.reduce((sum, document, place) => sum + weights[place]! * changeOf(document)[index]!, 0),
  );

describe('merging value by value', () => {
  it('[MGG-1] TIES gives the golden vector', () => {
    const rows = [
      [1, -2, 0.1, 3],
      [-1, -1, 0.5, 0.2],
      [4, 0.3, -0.2, -1],
    ].map((row) => keepLargest(Float32Array.from(row), 0.5));
    assert.deepEqual([...electAndMerge({ tensors: rows, weights: [1, 1, 1] })], [4, -1.5, 0, 3]);
  });

  it('[MGG-2] the largest values stay, the first of equal ones', () => {
    assert.deepEqual([...keepLargest(Float32Array.from([1, -3, 3, 0.5, -1]), 0.6)], [1, -3, 3, 0, 0]);
    assert.deepEqual([...keepLargest(Float32Array.from([1, 2]), 1)], [1, 2]);
  });

  it('[MGG-3] DARE keeps the sum in expectation, and the same values for the same seed', () => {
    const ones = new Float32Array(20_000).fill(1);
    const kept = dropAndRescale(ones, 0.25, seededRandom(1));
    assert.ok(kept.every((value) => value === 0 || value === 4));
    assert.ok(Math.abs(kept.reduce((sum, value) => sum + value, 0) / 20_000 - 1) < 0.05);
    assert.deepEqual(dropAndRescale(ones, 0.25, seededRandom(1)), kept);
  });

  it('[MGG-4] sums are weighted', () => {
    const tensors = [Float32Array.from([1, 2]), Float32Array.from([3, -1])];
    assert.deepEqual([...weightedSum({ tensors, weights: [2, 0.5] })], [3.5, 3.5]);
  });
});

describe('merging LoRA', () => {
  const documents = [documentOf(lora(), 1), documentOf(lora({ rank: 3, alpha: 3 }), 2)];

  it('[MGG-5] concatenation is the weighted sum of the changes, with the ranks added; negative weights subtract', () => {
    for (const weights of [
      [0.7, 0.3],
      [1, -0.5],
    ]) {
      const { document } = mergeDocuments(documents, { kind: 'cat', weights });
      assert.equal(document.adapter.rank, 5);
      assertClose(changeOf(document), sumOf(documents, weights), 1e-5);
      assert.doesNotThrow(() => adapterOnBase(document, base));
    }
  });

  it('[MGG-6] SVD of the whole rank is exact, of a smaller one the closest, and says what it leaves out', () => {
    const weights = [0.7, 0.3];
    const exact = sumOf(documents, weights);
    const whole = mergeDocuments(documents, { kind: 'svd', weights, rank: 5 });
    assertClose(changeOf(whole.document), exact, 1e-5);
    assert.ok(whole.discarded! < 1e-6);
    const { document, discarded } = mergeDocuments(documents, { kind: 'svd', weights });
    assert.equal(document.adapter.rank, 3);
    const norm = (list: readonly number[]) => Math.hypot(...list);
    const rest = changeOf(document).map((value, index) => value - exact[index]!);
    assert.ok(discarded! > 0.01);
    assertClose([norm(rest) / norm(exact)], [discarded!], 1e-5);
  });

  it('[MGG-7] one adapter merged alone is itself, whatever the kind', () => {
    const alone = documentOf(lora(), 3);
    for (const kind of ['linear', 'cat', 'svd', 'ties', 'magnitude-prune', 'dare-linear', 'dare-ties'] as const) {
      const { document } = mergeDocuments([alone], { kind, weights: [1], density: 1 });
      assertClose(changeOf(document), changeOf(alone), 1e-4);
    }
  });

  it('[MGG-8] linear sums factors by the roots of weight times scale', () => {
    const alike = [documentOf(lora(), 1), documentOf(lora(), 2)];
    const { document } = mergeDocuments(alike, { kind: 'linear', weights: [0.6, -0.2] });
    const [first, second] = alike.map((one) => values(one).get('layers.1.q.lora.a')![0]!) as [number, number];
    const found = values(document).get('layers.1.q.lora.a')![0]!;
    assertClose([found], [Math.sqrt(0.6 * 3) * first - Math.sqrt(0.2 * 3) * second], 1e-6);
    assert.deepEqual([document.adapter.rank, document.adapter.alpha], [2, 2]);
  });

  it('[MGG-9] ranks that differ between maps stand in patterns, and the result is an adapter of the base', () => {
    const mixed = lora({ layers: [0, 1], rankPattern: { 'layers.1': 1 } });
    const { document } = mergeDocuments([documentOf(mixed, 1), documentOf(mixed, 2)], { kind: 'cat', weights: [1, 1] });
    assert.deepEqual([document.adapter.rank, document.adapter.rankPattern], [4, { 'layers.1.q': 2 }]);
    assert.doesNotThrow(() => adapterOnBase(document, base));
  });

  it('[MGG-10] heads are averaged with weights that sum to 1', () => {
    const { document } = mergeDocuments(documents, { kind: 'cat', weights: [3, 1] });
    const [first, second, found] = [...documents, document].map((one) => values(one).get('head.bias')![0]!);
    assertClose([found!], [0.75 * first! + 0.25 * second!], 1e-6);
  });
});

describe('merging other methods', () => {
  const bottleneck = { method: 'bottleneck', size: 2, scaling: 'learned', layers: [0] };
  const documents = [documentOf(bottleneck, 1), documentOf(bottleneck, 2)];

  it('[MGG-11] linear is the mean of parameters', () => {
    const { document } = mergeDocuments(documents, { kind: 'linear', weights: [2, 2] });
    const expected = documents[0]!.parameters.map((value, index) => (value + documents[1]!.parameters[index]!) / 2);
    assertClose(document.parameters, [...expected], 1e-6);
  });

  it('[MGG-12] thinning spares scales and heads, in which zero is not "no change"', () => {
    const { document } = mergeDocuments(documents, { kind: 'magnitude-prune', weights: [1, 1], density: 0.25 });
    const found = values(document);
    for (const [name, values_] of found) {
      const zeros = values_.filter((value) => value === 0).length;
      if (name.endsWith('.scale') || name.startsWith('head.')) assert.equal(zeros, 0, name);
      if (name.endsWith('.kernel') && !name.startsWith('head.')) assert.ok(zeros > 0, name);
    }
  });

  const one = documentOf(lora(), 1);
  const faults: readonly [string, () => unknown, RegExp][] = [
    ['nothing', () => mergeDocuments([], { kind: 'linear', weights: [] }), /nothing is merged/],
    [
      'weights',
      () => mergeDocuments([one], { kind: 'linear', weights: [1, 2] }),
      /weights must be one number for each of the 1/,
    ],
    [
      'methods',
      () => mergeDocuments([one, documents[0]!], { kind: 'linear', weights: [1, 1] }),
      /the method must be the same, found lora and bottleneck/,
    ],
    [
      'tasks',
      () =>
        mergeDocuments([one, documentOf(lora(), 2, { ...task, labels: ['a', 'c'] })], { kind: 'cat', weights: [1, 1] }),
      /the task must be the same/,
    ],
    [
      'ranks',
      () => mergeDocuments([one, documentOf(lora({ rank: 3 }), 2)], { kind: 'ties', weights: [1, 1] }),
      /ties needs the same rank at layers\.1\.q\.lora, found 2, 3; use cat or svd/,
    ],
    [
      'maps',
      () => mergeDocuments([one, documentOf(lora({ targets: ['v'] }), 2)], { kind: 'cat', weights: [1, 1] }),
      /the adapted maps must be the same, found layers\.1\.q\.lora and layers\.1\.v\.lora/,
    ],
    [
      'a kind for LoRA alone',
      () => mergeDocuments(documents, { kind: 'svd', weights: [1, 1] }),
      /svd needs the method lora, found bottleneck; use linear/,
    ],
    ['a density', () => mergeDocuments([one], { kind: 'ties', weights: [1], density: 0 }), /density must be above 0/],
    [
      'thinning where zero is a change',
      () => mergeDocuments([documentOf({ method: 'ia3' }, 1)], { kind: 'ties', weights: [1] }),
      /ties needs the method lora or bottleneck, in which zero means no change, found ia3; use linear/,
    ],
  ];
  for (const [what, run, message] of faults) {
    it(`[MGG-13] a fault (${what}) is named`, () => {
      assert.throws(
        run,
        (error) => error instanceof UsageError && error.code === 'not-mergeable' && message.test(error.message),
      );
    });
  }
});
