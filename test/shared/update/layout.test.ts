import { strict as assert } from 'node:assert';
import { fromHex } from '../../../shared/core/bytes.ts';
import type { TensorSpecification } from '../../../shared/update/layout.ts';
import { layoutDigest, layoutOf, specificationOf } from '../../../shared/update/layout.ts';
import { modelHashOf } from '../../../shared/update/model-hash.ts';
import { protocolVectors } from '../../vectors/vectors.ts';

const tensors: readonly TensorSpecification[] = protocolVectors.layout.tensors;
const digestWith = (changed: Partial<TensorSpecification>): string =>
  layoutDigest(layoutOf([{ ...tensors[0]!, ...changed }, tensors[1]!]));

describe('adapter layout', () => {
  it('[LAY-1] puts tensors one after the other', () => {
    const layout = layoutOf(tensors);
    assert.equal(layout.dim, 11);
    assert.deepEqual(
      layout.tensors.map(({ name, offset, size }) => [name, offset, size]),
      [
        ['layers.0.down', 0, 8],
        ['head.bias', 8, 3],
      ],
    );
    assert.deepEqual(layoutOf([]), { tensors: [], dim: 0 });
  });

  it('[LAY-2] has the frozen digest', () => {
    assert.equal(layoutDigest(layoutOf(tensors)), protocolVectors.layout.layoutHash);
    const { tensors: full, layoutHash } = protocolVectors.fullLayout;
    assert.equal(layoutDigest(layoutOf(full)), layoutHash);
  });

  it('[LAY-3] names, shapes, aggregation classes and order change the digest; what concerns local training does not', () => {
    const digests = [
      layoutDigest(layoutOf(tensors)),
      digestWith({ name: 'layers.0.up' }),
      digestWith({ shape: [2, 4] }),
      digestWith({ shape: [8] }),
      digestWith({ aggregationClass: 'local' }),
      digestWith({ countName: 'uses' }),
      digestWith({ countIndex: 0 }),
      digestWith({ countAxis: 'last' }),
      digestWith({ foldInto: ['head.bias'] }),
      digestWith({ pair: { name: 'q', factor: 'a' } }),
      digestWith({ pair: { name: 'q', factor: 'b' } }),
      layoutDigest(layoutOf([...tensors].reverse())),
      layoutDigest(layoutOf(tensors.slice(0, 1))),
    ];
    assert.equal(new Set(digests).size, digests.length);
    assert.equal(digestWith({ decays: false }), digests[0]);
    assert.equal(digestWith({ countAxis: 'first', foldInto: [] }), digests[0]);
  });

  it('[LAY-5] specifications make the layout that they were taken from', () => {
    const { tensors: full } = protocolVectors.fullLayout;
    const layout = layoutOf(full);
    assert.deepEqual(layout.tensors.map(specificationOf), full);
    assert.deepEqual(layoutOf(layout.tensors.map(specificationOf)), layout);
  });

  it('[LAY-4] a model has the frozen hash, and base and adapter both change it', () => {
    const { baseDigest, adapter, modelHash } = protocolVectors.model;
    const bytes = fromHex(adapter);
    assert.equal(modelHashOf(baseDigest, bytes), modelHash);
    assert.notEqual(modelHashOf(baseDigest, bytes.subarray(4)), modelHash);
    assert.notEqual(modelHashOf('05'.repeat(32) as never, bytes), modelHash);
  });
});
