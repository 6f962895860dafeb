import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import { addProduct, randomSigns, sketchMatrix, transposed } from '../../../shared/update/sketch.ts';

const roundHash = '0123456789abcdef'.repeat(4) as Digest;
const of = (side: 'outer' | 'inner') => ({ roundHash, pairName: 'layers.0.q.lora', side });
const text = (signs: Float64Array): string => Array.from(signs, (sign) => (sign > 0 ? '+' : '-')).join('');

describe('sketches', () => {
  it('[SKE-1] signs are those that an independent program draws from the hash of the round', () => {
    assert.equal(text(randomSigns(of('outer'), 5, 8)), '++-+++++++-++--++-+--++------+++++++++-+');
    assert.equal(text(randomSigns(of('inner'), 5, 8)), '+-+-+--+++-+++++-++---+-++++++---+--++-+');
  });

  it('[SKE-2] every round, map and side has signs of its own', () => {
    const variants = [
      of('outer'),
      of('inner'),
      { ...of('outer'), pairName: 'layers.1.q.lora' },
      { ...of('outer'), roundHash: 'fe'.repeat(32) as Digest },
    ];
    assert.equal(new Set(variants.map((variant) => text(randomSigns(variant, 8, 8)))).size, variants.length);
  });

  it('[SKE-3] a sketch as long as the map is wide is the map itself', () => {
    assert.deepEqual(sketchMatrix(of('outer'), 2, 2), Float64Array.of(1, 0, 0, 1));
    assert.deepEqual(sketchMatrix(of('outer'), 3, 2), randomSigns(of('outer'), 3, 2));
  });

  it('[SKE-4] products and transposes: (A B)ᵀ = Bᵀ Aᵀ', () => {
    const [left, right] = [Float64Array.of(1, 2, 3, 4, 5, 6), Float64Array.of(1, 0, -1, 2, 1, 1)];
    const product = addProduct(new Float64Array(4), left, right, { rows: 2, inner: 3, columns: 2 });
    assert.deepEqual(product, Float64Array.of(2, 7, 5, 16));
    const turned = addProduct(new Float64Array(4), transposed(right, 3, 2), transposed(left, 2, 3), {
      rows: 2,
      inner: 3,
      columns: 2,
    });
    assert.deepEqual(turned, transposed(product, 2, 2));
  });
});
