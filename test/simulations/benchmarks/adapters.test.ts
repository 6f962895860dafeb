import { strict as assert } from 'node:assert';
import { methodNames, parseAdapter } from '../../../shared/adapters/registry.ts';
import { stepArithmetic } from '../../../simulations/benchmarks/adapter-arithmetic.ts';
import { bench } from '../../../simulations/benchmarks/adapters.ts';
import { bertLike } from '../../shared/adapters/bases.ts';

const small = { layers: '2', width: '16', heads: '2', 'feed-forward': '32', sequence: '16', batch: '4', rank: '2' };

describe('benchmark adapters', () => {
  it('[BAD-1] reports steps, their ratio to that of the base, and the ratio of their arithmetic', async function () {
    this.timeout(60_000);
    const mixtures = 'mixture-0-of-8,mixture-1-of-8,mixture-2-of-8,mixture-8-of-8';
    const only = `bottleneck,bottleneck-top-half,${mixtures},parallel`;
    const lines: string[] = [];
    const report = await bench({ ...small, steps: '1', only }, (line) => lines.push(line));
    assert.equal(report.name, 'adapters');
    for (const name of only.split(',')) {
      for (const figure of ['ms', 'ratio', 'arithmetic']) {
        const value = report.results[`${name}.${figure}`];
        assert.ok(typeof value === 'number' && Number.isFinite(value) && value > 0, `${name}.${figure}: ${value}`);
      }
    }
    for (const name of ['topHalfOverAll', 'mixture1Of8OverAll', 'mixture2Of8OverAll'])
      assert.equal(typeof report.results[name], 'number', name);
    assert.equal(lines.length, 7);
    await assert.rejects(
      bench({ ...small, only: 'lorra' }, () => {}),
      /--only must be some of .*, found "lorra"/,
    );
  });

  it('[BAD-2] counts the multiply-adds that a method needs, by hand', () => {
    const base = bertLike(2, 64, 128);
    const shape = { layers: 2, width: 64, heads: 1, feedForward: 128, sequence: 8, batch: 2, rank: 4 };
    const rows = 16;
    const attention = 2 * rows * 8 * 64;
    const layer = rows * (4 * 64 * 64 + 2 * 64 * 128) + attention;
    const count = (settings: { readonly method: string; readonly [name: string]: unknown }) =>
      stepArithmetic(parseAdapter(settings, base), base, shape);
    // After the lowest feed-forward nothing of its layer gets gradients.
    const bottleneck = 3 * rows * 2 * (2 * 64 * 4);
    assert.equal(count({ method: 'bottleneck', size: 4 }), 2 * layer + (layer + attention) + bottleneck);
    assert.equal(count({ method: 'bottleneck', size: 4, topLayers: 1 }), 2 * layer + bottleneck / 2);
    // k of E experts are a share of all; the router is asked in any case.
    const mixture = (choices: number) => count({ method: 'mixture', size: 4, experts: 8, choices });
    assert.equal(mixture(4) - mixture(2), (8 / 4) * bottleneck);
    const lora = 3 * rows * 2 * 2 * (2 * 64 * 4);
    const aboveQueries = rows * 2 * 64 * 128 + rows * 64 * 64 + 2 * attention;
    assert.equal(count({ method: 'lora', rank: 4 }), 2 * layer + layer + attention + aboveQueries + lora);
    // Members that are frozen have no gradients of their own.
    const members = ['a', 'b'].map((id) => ({ id, method: 'bottleneck', size: 4 }));
    const fusion = 3 * rows * 2 * (3 * 64 * 64);
    assert.equal(count({ method: 'fuse', members }), 3 * layer + attention + 2 * (2 / 3) * bottleneck + fusion);
    const further: Readonly<Record<string, object>> = {
      split: { at: [3] },
      gate: { penalty: 0.1, members: members.slice(0, 1) },
    };
    for (const method of methodNames) {
      const composed = ['stack', 'fuse', 'average', 'gate', 'split', 'batch-split', 'parallel'].includes(method)
        ? { members }
        : {};
      assert.ok(count({ method, ...composed, ...further[method] }) >= 2 * layer, method);
    }
  });
});
