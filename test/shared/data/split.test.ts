import { strict as assert } from 'node:assert';
import type { Row } from '../../../shared/data/row.ts';
import { splitHeldOut } from '../../../shared/data/split.ts';

const rows: readonly Row[] = Array.from({ length: 400 }, (_, index) => {
  return { text: `row ${index}`, label: `label ${index % 6}`, line: index + 1 };
});

describe('splitHeldOut', () => {
  it('[SPL-1] keeps every row on one side, about the asked share, and equal texts together', () => {
    const twice = [...rows, ...rows];
    const { train, heldOut } = splitHeldOut(twice, 0.2, 1);
    assert.equal(train.length + heldOut.length, twice.length);
    assert.ok(Math.abs(heldOut.length / twice.length - 0.2) < 0.06, `${heldOut.length} of ${twice.length}`);
    const held = new Set(heldOut.map(({ text }) => text));
    assert.ok(train.every(({ text }) => !held.has(text)));
    assert.deepEqual(splitHeldOut(rows, 0, 1), { train: rows, heldOut: [] });
  });

  it('[SPL-2] leaves a row on its side when others are added', () => {
    const before = splitHeldOut(rows.slice(0, 200), 0.2, 1);
    const after = splitHeldOut(rows, 0.2, 1);
    assert.deepEqual(after.heldOut.slice(0, before.heldOut.length), before.heldOut);
    assert.notDeepEqual(splitHeldOut(rows, 0.2, 2), after);
  });

  it('[SPL-3] leaves neither side empty where there are two texts', () => {
    for (const fraction of [0.001, 0.5, 0.999]) {
      for (let seed = 0; seed < 20; seed++) {
        const { train, heldOut } = splitHeldOut(rows.slice(0, 2), fraction, seed);
        assert.deepEqual([train.length, heldOut.length], [1, 1]);
      }
    }
  });
});
