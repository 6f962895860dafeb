/** Who holds what: no row twice, no row lost, and own test rows that are like the training rows of their site. */
import { strict as assert } from 'node:assert';
import type { Row } from '../../../shared/data/row.ts';
import { divide, type Site } from '../../../simulations/quickstart/sites.ts';

const owners = ['north', 'south', 'east'];
const labels = ['a', 'b', 'c', 'd'];

/** Rows of three owners; `south` has label `d` alone. */
function rows(count: number, name: string): Row[] {
  return Array.from({ length: count }, (_, index) => {
    const group = owners[index % 3]!;
    return {
      text: `${name} ${index}`,
      label: group === 'south' && index % 2 === 1 ? 'd' : labels[index % 3]!,
      group,
      line: index + 1,
    };
  });
}

const options = { train: rows(300, 'train'), test: rows(120, 'test'), clientCount: 3, seed: 7 };
const all = ({ train, heldOut }: Pick<Site, 'train' | 'heldOut'>) => [...train, ...heldOut] as readonly Row[];

describe('divide', () => {
  for (const partition of [
    { kind: 'iid' },
    { kind: 'natural', column: 'client' },
    { kind: 'dirichlet', alpha: 0.5 },
  ] as const) {
    it(`[SIT-1] deals every training and test row to exactly one site (${partition.kind})`, () => {
      const { sites, labels: found } = divide({ ...options, partition });
      assert.deepEqual(found, labels);
      const lines = sites.flatMap((site) => all(site).map(({ line }) => line)).sort((left, right) => left - right);
      assert.deepEqual(
        lines,
        options.train.map(({ line }) => line),
      );
      const indices = sites.flatMap(({ ownTest }) => ownTest).sort((left, right) => left - right);
      assert.deepEqual(indices, [...options.test.keys()]);
    });
  }

  it('[SIT-2] gives a site of a natural partition the test rows of its owners, and their name', () => {
    const { sites } = divide({ ...options, partition: { kind: 'natural', column: 'client' } });
    assert.deepEqual(sites.map(({ name }) => name).sort(), [...owners].sort());
    for (const { name, ownTest } of sites) assert.ok(ownTest.every((index) => options.test[index]!.group === name));
  });

  it('[SIT-3] leaves test rows of owners without training rows to nobody', () => {
    const test = [...options.test, { ...options.test[0]!, group: 'elsewhere' }];
    const { sites } = divide({ ...options, test, partition: { kind: 'natural', column: 'client' } });
    assert.ok(!sites.some(({ ownTest }) => ownTest.includes(test.length - 1)));
  });

  it('[SIT-4] shares the test rows of a label in proportion to training rows', () => {
    const { sites } = divide({ ...options, partition: { kind: 'dirichlet', alpha: 0.3 } });
    for (const label of labels) {
      const trainCount = options.train.filter((row) => row.label === label).length;
      const testCount = options.test.filter((row) => row.label === label).length;
      for (const site of sites) {
        const share = all(site).filter((row) => row.label === label).length / trainCount;
        const own = site.ownTest.filter((index) => options.test[index]!.label === label).length / testCount;
        assert.ok(Math.abs(share - own) * testCount <= 1, `${site.name} ${label}: ${share} and ${own}`);
      }
    }
  });

  it('[SIT-5] numbers sites whose owners have names that do not suit paths', () => {
    const strange = options.train.map((row) => ({ ...row, group: `../${row.group}` }));
    const { sites } = divide({ ...options, train: strange, partition: { kind: 'natural', column: 'client' } });
    assert.deepEqual(
      sites.map(({ name }) => name),
      ['site-1', 'site-2', 'site-3'],
    );
  });

  it('[SIT-6] refuses test labels that nobody can learn, and tasks of one label', () => {
    const partition = { kind: 'iid' } as const;
    const stranger = { text: 'new', label: 'z', group: 'north', line: 9 };
    assert.throws(() => divide({ ...options, test: [stranger], partition }), /line 9 has the label "z"/);
    const single = options.train.map((row) => ({ ...row, label: 'a' }));
    assert.throws(() => divide({ ...options, train: single, partition }), /single label/);
  });
});
