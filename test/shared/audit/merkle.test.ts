import { strict as assert } from 'node:assert';
import { createMerkleTree, isConsistent, isIncluded, leafHashOf } from '../../../shared/audit/merkle.ts';
import { concatBytes, fromHex, toHex } from '../../../shared/core/bytes.ts';
import { sha256 } from '../../../shared/crypto/hash.ts';

/** The leaves and roots of the test of Certificate Transparency's reference implementation. */
const leaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

/** The root as the RFC defines it, by recursion over the data. */
function plainRoot(data: readonly Uint8Array[]): Uint8Array {
  if (data.length === 0) return sha256(new Uint8Array(0));
  if (data.length === 1) return leafHashOf(data[0]!);
  let split = 1;
  while (2 * split < data.length) split *= 2;
  return sha256(concatBytes(Uint8Array.of(1), plainRoot(data.slice(0, split)), plainRoot(data.slice(split))));
}

describe('Merkle tree', () => {
  const data = Array.from({ length: 40 }, (_, index) => Uint8Array.of(index, 7));
  const tree = createMerkleTree();
  for (const one of data) tree.append(leafHashOf(one));

  it('[MRK-1] has the published roots', () => {
    const known = createMerkleTree();
    for (const leaf of leaves) known.append(leafHashOf(fromHex(leaf)));
    assert.deepEqual(
      roots.map((_, index) => toHex(known.root(index + 1))),
      roots,
    );
    assert.equal(toHex(known.root(0)), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  it('[MRK-2] has the root that the definition gives, at every size', () => {
    for (let size = 0; size <= data.length; size++) assert.deepEqual(tree.root(size), plainRoot(data.slice(0, size)));
  });

  it('[MRK-3] proves every leaf of every size, and no other leaf, place, size or path', () => {
    for (let size = 1; size <= data.length; size++) {
      const head = { size, root: tree.root(size) };
      for (let index = 0; index < size; index++) {
        const leaf = { leafHash: leafHashOf(data[index]!), index, path: tree.inclusion(index, size) };
        assert.ok(isIncluded(leaf, head), `${index} of ${size}`);
        assert.ok(!isIncluded({ ...leaf, leafHash: leafHashOf(Uint8Array.of(99)) }, head));
        assert.ok(!isIncluded({ ...leaf, index: index + 1 }, head) || size === 1);
        assert.ok(!isIncluded({ ...leaf, path: [...leaf.path, leaf.leafHash] }, head));
        if (leaf.path.length > 0) assert.ok(!isIncluded({ ...leaf, path: leaf.path.slice(1) }, head));
      }
    }
    assert.ok(!isIncluded({ leafHash: leafHashOf(data[0]!), index: -1, path: [] }, { size: 1, root: tree.root(1) }));
  });

  it('[MRK-4] proves that every tree begins every later one, and nothing of changed ones', () => {
    for (let from = 1; from <= data.length; from++) {
      for (let to = from; to <= data.length; to++) {
        const proof = tree.consistency(from, to);
        const [older, newer] = [
          { size: from, root: tree.root(from) },
          { size: to, root: tree.root(to) },
        ];
        assert.ok(isConsistent(older, newer, proof), `${from} to ${to}`);
        assert.ok(!isConsistent({ ...older, root: tree.root(from - 1) }, newer, proof));
        assert.ok(!isConsistent(older, { ...newer, root: tree.root(to - 1) }, proof));
        assert.ok(!isConsistent(older, newer, [...proof, older.root]));
        if (to > from) assert.ok(!isConsistent(newer, older, proof));
        if (proof.length > 1) assert.ok(!isConsistent(older, newer, proof.slice(1)));
      }
    }
    assert.ok(isConsistent({ size: 0, root: tree.root(0) }, { size: 3, root: tree.root(3) }, []));
  });
});
