import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { parsePartition, partitionRows } from '../../../shared/data/partition.ts';
import type { Row } from '../../../shared/data/row.ts';

function sampleRows(count: number): Row[] {
  const random = seededRandom(99, 'rows');
  return Array.from({ length: count }, (_, index) => ({
    text: `row ${index}`,
    label: `label ${random.integer(6)}`,
    group: `owner ${Math.floor(random.uniform() ** 2 * 9)}`,
    line: index + 1,
  }));
}

const rows = sampleRows(400);
const deal = (spec: string, clientCount: number, seed = 1, of = rows) =>
  partitionRows(of, { partition: parsePartition(spec), clientCount, seed });
const digest = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);

describe('partitionRows', () => {
  it('[PAR-1] gives every row to exactly one client, in order, and every client at least one', () => {
    for (const spec of ['iid', 'natural', 'dirichlet:0.05', 'dirichlet:100', 'dirichlet:0.0001']) {
      for (const clientCount of [1, 4, 9]) {
        const clients = deal(spec, clientCount, clientCount);
        assert.equal(clients.length, clientCount);
        for (const indices of clients) {
          assert.ok(indices.length > 0, `${spec}: an empty client`);
          assert.deepEqual(
            indices,
            [...indices].sort((left, right) => left - right),
          );
        }
        const all = clients.flat().sort((left, right) => left - right);
        assert.deepEqual(
          all,
          rows.map((_, index) => index),
          spec,
        );
      }
    }
    assert.deepEqual(
      deal('dirichlet:0.01', 5, 1, rows.slice(0, 5)).map(({ length }) => length),
      [1, 1, 1, 1, 1],
    );
  });

  it('[PAR-2] is frozen: golden digests', () => {
    assert.deepEqual(
      {
        iid: digest(deal('iid', 7)),
        natural: digest(deal('natural', 4)),
        skewed: digest(deal('dirichlet:0.5', 5)),
      },
      { iid: '746658d15396b9a5', natural: '36e95ba08aafc06e', skewed: 'd336062d2e417d99' },
    );
  });

  it('[PAR-3] deals evenly for iid, keeps owners whole for natural, and skews labels the more the smaller alpha is', () => {
    assert.deepEqual(
      deal('iid', 7)
        .map(({ length }) => length)
        .sort((left, right) => left - right),
      [57, 57, 57, 57, 57, 57, 58],
    );
    const owners = deal('natural', 4).map((indices) => new Set(indices.map((index) => rows[index]!.group)));
    assert.equal(
      owners.reduce((sum, { size }) => sum + size, 0),
      new Set(rows.map(({ group }) => group)).size,
    );
    // Mean over clients of the largest label share: 1 where every client has one label, about 1/6 where all have the same mixture.
    const skew = (spec: string) => {
      const clients = deal(spec, 5);
      const largest = clients.map((indices) => {
        const counts = new Map<string, number>();
        for (const index of indices) counts.set(rows[index]!.label, (counts.get(rows[index]!.label) ?? 0) + 1);
        return Math.max(...counts.values()) / indices.length;
      });
      return largest.reduce((sum, share) => sum + share, 0) / clients.length;
    };
    assert.ok(skew('dirichlet:0.1') > 0.5, `${skew('dirichlet:0.1')}`);
    assert.ok(skew('dirichlet:1000') < 0.27, `${skew('dirichlet:1000')}`);
  });

  it('[PAR-4] changes with the seed where there is chance', () => {
    assert.notDeepEqual(deal('iid', 4, 1), deal('iid', 4, 2));
    assert.notDeepEqual(deal('dirichlet:0.5', 4, 1), deal('dirichlet:0.5', 4, 2));
    assert.deepEqual(deal('natural', 4, 1), deal('natural', 4, 2));
  });

  it('[PAR-5] refuses what cannot be, and says what can', () => {
    for (const spec of [
      '',
      'IID',
      'dirichlet',
      'dirichlet:',
      'dirichlet:0',
      'dirichlet:-1',
      'dirichlet:x',
      'natural:',
      'iid:1',
    ]) {
      assert.throws(() => parsePartition(spec), UsageError, spec);
    }
    assert.deepEqual(parsePartition('natural:bank'), { kind: 'natural', column: 'bank' });
    assert.throws(() => deal('iid', 3, 1, rows.slice(0, 2)), /each needs at least one/);
    assert.throws(() => deal('natural', 40), /ask for at most 9/);
    const { text, label, line } = rows[0]!;
    assert.throws(() => deal('natural', 1, 1, [{ text, label, line }]), /no value in "client"/);
    const unlabelled = [{ line: 1 }, { line: 2 }];
    const options = { partition: parsePartition('dirichlet:1'), clientCount: 2, seed: 1 };
    assert.throws(() => partitionRows(unlabelled, options), /line 1 has no label of its own/);
    assert.equal(partitionRows(unlabelled, { ...options, partition: { kind: 'iid' } }).length, 2);
  });
});
