import { strict as assert } from 'node:assert';
import { tensor, zeros } from '@tensorflow/tfjs-core';
import { tokenMask } from '../../../shared/adapters/token-mask.ts';
import { useBackend } from '../../../shared/compute/backend.ts';

describe('mask of tokens', () => {
  before(() => useBackend('wasm'));
  const attentionMask = () => tensor([1, 1, 0, 1, 0, 0], [2, 3], 'int32') as never;
  const maskOf = (length: number) => tokenMask({ attentionMask: attentionMask() }, zeros([2, length, 4]) as never);

  it('[TKM-1] is that of the pass, with tokens in front where the texts were lengthened there', () => {
    assert.deepEqual([...maskOf(3)!.dataSync()], [1, 1, 0, 1, 0, 0]);
    assert.deepEqual([...maskOf(5)!.dataSync()], [1, 1, 1, 1, 0, 1, 1, 1, 0, 0]);
  });

  it('[TKM-2] is the end of it where earlier tokens stand in a cache, and nothing where all are tokens', () => {
    assert.deepEqual([...maskOf(1)!.dataSync()], [0, 0]);
    assert.equal(tokenMask({}, zeros([2, 3, 4]) as never), undefined);
  });
});
