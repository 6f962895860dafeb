import { strict as assert } from 'node:assert';
import type { Row } from '../../../shared/data/row.ts';
import { type SplitSettings, sideOf, splitHeldOut, splitRows, splitSides } from '../../../shared/data/split.ts';

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

  it('[SPL-4] holds out the same rows with any version', () => {
    const held = (fraction: number, seed: number) => splitHeldOut(rows, fraction, seed).heldOut.map(({ line }) => line);
    assert.deepEqual(held(0.03, 1), [2, 6, 14, 42, 106, 121, 165, 198, 253, 278, 343, 385]);
    assert.deepEqual(held(0.03, 7), [81, 149, 157, 184, 217, 243, 258, 283, 287, 328]);
  });
});

describe('splitRows', () => {
  const grouped = rows.map((row, index) => ({ ...row, group: `patient ${index % 60}` }));
  const settings: SplitSettings = { validation: 0.1, test: 0.2, seed: 3 };
  const lines = (found: readonly Row[]) => found.map(({ line }) => line);

  it('[SPL-5] gives every side about its share, every row one side, equal texts the same', () => {
    const { train, validation, test, leftOut } = splitRows([...rows, ...rows], settings);
    assert.equal(train.length + validation.length + test.length, 800);
    assert.deepEqual(leftOut, []);
    assert.ok(Math.abs(validation.length / 800 - 0.1) < 0.05, `${validation.length} of 800`);
    assert.ok(Math.abs(test.length / 800 - 0.2) < 0.06, `${test.length} of 800`);
    const texts = [train, validation, test].map((side) => new Set(side.map(({ text }) => text)));
    assert.equal(
      texts.reduce((sum, { size }) => sum + size, 0),
      400,
    );
    assert.deepEqual(splitRows(rows, { seed: 3 }).train, rows);
  });

  it('[SPL-6] never puts a group on two sides, also when rows are added', () => {
    const groupsOf = (found: ReturnType<typeof splitRows<(typeof grouped)[number]>>) =>
      splitSides.map((side) => new Set(found[side].map(({ group }) => group)));
    const before = groupsOf(splitRows(grouped.slice(0, 200), { ...settings, byGroup: true }));
    const after = groupsOf(splitRows(grouped, { ...settings, byGroup: true }));
    assert.deepEqual(after, before);
    assert.equal(
      after.reduce((sum, { size }) => sum + size, 0),
      60,
    );
    assert.ok(after.every(({ size }) => size > 0));
  });

  it('[SPL-7] keeps a text of several groups on one side: training first, the test last; the others are left out', () => {
    const shared = grouped.map((row, index) => (index % 10 === 0 ? { ...row, text: 'no complaints' } : row));
    const found = splitRows(shared, { ...settings, byGroup: true });
    const has = (side: 'train' | 'validation' | 'test') => found[side].some(({ text }) => text === 'no complaints');
    assert.deepEqual(splitSides.map(has), [true, false, false]);
    assert.ok(found.leftOut.length > 0 && found.leftOut.every(({ text }) => text === 'no complaints'));
    assert.equal(
      splitSides.reduce((sum, side) => sum + found[side].length, found.leftOut.length),
      400,
    );
    const phrases = grouped.map((row, index) => ({ ...row, text: `phrase ${index % 23}` }));
    const kept = splitRows(phrases, { ...settings, byGroup: true });
    assert.deepEqual(new Set(kept.train.map(({ text }) => text)).size, 23, 'training keeps every text that it has');
    assert.deepEqual([kept.validation, kept.test], [[], []]);
    assert.throws(() => splitRows(rows, { ...settings, byGroup: true }), { code: 'no-group' });
  });

  it('[SPL-8] leaves no side empty that has a share, as soon as there are texts enough', () => {
    for (const [validation, test] of [
      [0.001, 0.001],
      [0.4, 0.4],
      [0.001, 0.99],
      [0.99, 0.001],
      [0, 0.5],
    ] as const) {
      for (let seed = 0; seed < 20; seed++) {
        const found = splitRows(rows.slice(0, 3), { validation, test, seed });
        const shares = [found.train, found.validation, found.test].map(({ length }) => length > 0);
        assert.deepEqual(shares, [true, validation > 0, true], `${validation} ${test} ${seed}`);
      }
    }
  });

  it('[SPL-9] a row alone goes to the side that it has among the others', () => {
    const { train, validation, test } = splitRows(rows, settings);
    const alone = splitSides.map((side) => rows.filter(({ text: key }) => sideOf({ key }, settings) === side));
    assert.deepEqual(alone.map(lines), [train, validation, test].map(lines));
    const byGroup = splitRows(grouped, { ...settings, byGroup: true });
    const groupAlone = grouped.filter(({ text: key, group }) => sideOf({ key, group }, settings) === 'test');
    assert.deepEqual(lines(groupAlone), lines(byGroup.test));
  });

  it('[SPL-10] validation and test together leave something to train on', () => {
    for (const shares of [{ validation: 0.5, test: 0.5 }, { test: 1 }, { validation: -0.1 }, { test: Number.NaN }]) {
      assert.throws(() => splitRows(rows, { ...shares, seed: 1 }), /leave nothing to train on/);
    }
  });
});
