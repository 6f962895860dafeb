/**
 * Merkle trees over append-only lists (RFC 6962, section 2.1): leaf = SHA-256(0x00 ‖ data), node = SHA-256(0x01 ‖ left ‖ right), split at the
 * largest power of two below the size. Proofs that a leaf is in a tree, and that a tree is the beginning of a later one.
 */
import { assert } from '../core/assert.ts';
import { equalBytes } from '../core/bytes.ts';
import { sha256 } from '../crypto/hash.ts';

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

/** Hash of a leaf, 32 bytes. */
export function leafHashOf(data: Uint8Array): Uint8Array {
  return sha256(leafPrefix, data);
}

const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(nodePrefix, left, right);

/** A tree that grows. Costs O(log size) per leaf, root and proof; memory about 64 bytes a leaf. */
export interface MerkleTree {
  readonly size: () => number;
  /** Appends a leaf by its hash, which is kept. */
  append(leafHash: Uint8Array): void;
  /** Root of the first `size` leaves, 32 bytes. */
  root(size: number): Uint8Array;
  /** Audit path of leaf `index` in the tree of the first `size` leaves, from the leaf upwards. `index < size`. */
  inclusion(index: number, size: number): readonly Uint8Array[];
  /** Proof that the first `from` leaves begin the first `to`. `0 < from <= to`. */
  consistency(from: number, to: number): readonly Uint8Array[];
}

/** Largest power of two below `size`, which is at least 2. */
const splitOf = (size: number): number => 2 ** Math.ceil(Math.log2(size) - 1);

/** An empty tree. */
export function createMerkleTree(): MerkleTree {
  /** `levels[k][i]` is the root of the whole subtree of leaves `i 2^k` to `(i + 1) 2^k`. */
  const levels: Uint8Array[][] = [[]];
  const count = (): number => levels[0]!.length;
  const rootOf = (start: number, size: number): Uint8Array => {
    if (size === 0) return sha256(new Uint8Array(0));
    const level = Math.log2(size);
    if (Number.isInteger(level) && start % size === 0) return levels[level]![start / size]!;
    const split = splitOf(size);
    return nodeHash(rootOf(start, split), rootOf(start + split, size - split));
  };
  const pathTo = (index: number, start: number, size: number): Uint8Array[] => {
    if (size === 1) return [];
    const split = splitOf(size);
    return index < split
      ? [...pathTo(index, start, split), rootOf(start + split, size - split)]
      : [...pathTo(index - split, start + split, size - split), rootOf(start, split)];
  };
  /** RFC 6962, SUBPROOF: `isKnown` says that the verifier has the root of this subtree. */
  const subproof = (from: number, start: number, size: number, isKnown: boolean): Uint8Array[] => {
    if (from === size) return isKnown ? [] : [rootOf(start, size)];
    const split = splitOf(size);
    return from <= split
      ? [...subproof(from, start, split, isKnown), rootOf(start + split, size - split)]
      : [...subproof(from - split, start + split, size - split, false), rootOf(start, split)];
  };
  return {
    size: count,
    append: (leafHash) => {
      levels[0]!.push(leafHash);
      for (let level = 0, size = count(); size % 2 === 0; level++, size /= 2) {
        levels[level + 1] ??= [];
        levels[level + 1]!.push(nodeHash(levels[level]![size - 2]!, levels[level]![size - 1]!));
      }
    },
    root: (size) => {
      assert(size >= 0 && size <= count(), 'the root of leaves that are there');
      return rootOf(0, size);
    },
    inclusion: (index, size) => {
      assert(index >= 0 && index < size && size <= count(), 'the path of a leaf that is there');
      return pathTo(index, 0, size);
    },
    consistency: (from, to) => {
      assert(from > 0 && from <= to && to <= count(), 'a tree that is not empty and not longer than its successor');
      return subproof(from, 0, to, true);
    },
  };
}

/** Whether `path` proves that the leaf with this hash is number `index` of the tree of `size` leaves with `root` (RFC 9162, 2.1.3.2). */
export function isIncluded(
  {
    leafHash,
    index,
    path,
  }: { readonly leafHash: Uint8Array; readonly index: number; readonly path: readonly Uint8Array[] },
  { size, root }: { readonly size: number; readonly root: Uint8Array },
): boolean {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  let [node, last, hash] = [index, size - 1, leafHash];
  for (const sibling of path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else hash = nodeHash(hash, sibling);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && equalBytes(hash, root);
}

/** A tree by its size and root. */
interface Head {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Whether `proof` shows that the tree `from` begins the tree `to` (RFC 9162, 2.1.4.2). Every tree begins with the empty one. */
export function isConsistent(from: Head, to: Head, proof: readonly Uint8Array[]): boolean {
  if (from.size === 0) return proof.length === 0;
  if (from.size > to.size) return false;
  if (from.size === to.size) return proof.length === 0 && equalBytes(from.root, to.root);
  const hashes = Number.isInteger(Math.log2(from.size)) ? [from.root, ...proof] : [...proof];
  const first = hashes.shift();
  if (first === undefined) return false;
  let [node, last] = [from.size - 1, to.size - 1];
  while (node % 2 === 1) [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  let [older, newer] = [first, first];
  for (const sibling of hashes) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      [older, newer] = [nodeHash(sibling, older), nodeHash(sibling, newer)];
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else newer = nodeHash(newer, sibling);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && equalBytes(older, from.root) && equalBytes(newer, to.root);
}
