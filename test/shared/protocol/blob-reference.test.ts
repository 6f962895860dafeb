import { strict as assert } from 'node:assert';
import { fromHex } from '../../../shared/core/bytes.ts';
import { chunkBytesMax } from '../../../shared/core/limits.ts';
import { checkChunk, checkManifest, referenceTo } from '../../../shared/protocol/blob-reference.ts';
import { chunkCountOf, chunkDigests, chunkLengthOf, vectorRoot } from '../../../shared/protocol/vector.ts';
import { protocolVectors } from '../../vectors/vectors.ts';
import { digestOfByte, flipped } from './fixtures.ts';

const content = Uint8Array.from({ length: 2 * chunkBytesMax + 5 }, (_, index) => index % 253);
const { reference, manifest } = referenceTo(content);
const chunk = (index: number): Uint8Array => content.subarray(index * chunkBytesMax, (index + 1) * chunkBytesMax);

describe('chunks', () => {
  it('[CHK-1] have frozen digests and a frozen root', () => {
    const { content: hex, chunkSize, chunkDigests: expected, root } = protocolVectors.chunks;
    const digests = chunkDigests(fromHex(hex), chunkSize);
    assert.deepEqual(digests, expected);
    assert.equal(vectorRoot(chunkSize, digests), root);
  });

  it('[CHK-2] are as many and as long as the size says', () => {
    assert.deepEqual(
      [0, 1, 4, 5].map((size) => chunkCountOf(size, 4)),
      [0, 1, 1, 2],
    );
    assert.deepEqual(
      [0, 1, 2].map((index) => chunkLengthOf(9, index, 4)),
      [4, 4, 1],
    );
    assert.throws(() => chunkLengthOf(8, 2, 4), { name: 'InvariantError' });
    assert.deepEqual(chunkDigests(new Uint8Array(0)), []);
  });

  it('[CHK-3] the root binds size, number, order and every digest', () => {
    const digests = [digestOfByte(1), digestOfByte(2)];
    const roots = [
      vectorRoot(4, digests),
      vectorRoot(5, digests),
      vectorRoot(4, [...digests].reverse()),
      vectorRoot(4, digests.slice(1)),
      vectorRoot(4, [...digests, digestOfByte(3)]),
      vectorRoot(4, []),
    ];
    assert.equal(new Set(roots).size, roots.length);
  });
});

describe('references', () => {
  it('[REF-1] match their manifest and every chunk of it', () => {
    assert.equal(reference.size, content.length);
    assert.equal(checkManifest(reference, manifest), null);
    for (const index of [0, 1, 2]) assert.equal(checkChunk(manifest, index, chunk(index)), null);
    assert.equal(checkManifest(referenceTo(new Uint8Array(0)).reference, { size: 0, chunkDigests: [] }), null);
  });

  it('[REF-2] refuse manifests of another size, number or content', () => {
    const [first, second, third] = manifest.chunkDigests;
    const code = (changes: object) => checkManifest(reference, { ...manifest, ...changes })?.code;
    assert.equal(code({ size: content.length + 1 }), 'wrong-length');
    assert.equal(code({ chunkDigests: [first, second] }), 'wrong-length');
    assert.equal(code({ chunkDigests: [second, first, third] }), 'root-mismatch');
    assert.equal(code({ chunkDigests: [first, second, digestOfByte(1)] }), 'root-mismatch');
  });

  it('[REF-3] refuse chunks of another place, length or content', () => {
    assert.equal(checkChunk(manifest, 3, chunk(2))?.code, 'wrong-length');
    assert.equal(checkChunk(manifest, -1, chunk(0))?.code, 'wrong-length');
    assert.equal(checkChunk(manifest, 0.5, chunk(0))?.code, 'wrong-length');
    assert.equal(checkChunk(manifest, 2, chunk(0))?.code, 'wrong-length');
    assert.equal(checkChunk(manifest, 0, chunk(0).subarray(1))?.code, 'wrong-length');
    assert.equal(checkChunk(manifest, 0, chunk(1))?.code, 'chunk-mismatch');
    assert.equal(checkChunk(manifest, 1, flipped(chunk(1), 77))?.code, 'chunk-mismatch');
  });
});
