import { strict as assert } from 'node:assert';
import { tensor1d, tidy } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { collectRouting, countedRouting, routingLines } from '../../../shared/adapters/routing-statistics.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { bertLike } from './bases.ts';

describe('routing statistics', () => {
  before(() => useBackend('cpu'));

  /** What a mixture observes in one pass at a site. */
  const pass = (
    { observe }: ReturnType<typeof collectRouting>,
    site: string,
    { uses, dropped, probability }: { uses: number[]; dropped: number; probability: number[] },
  ): void =>
    tidy(() => {
      observe(`${site}.mixture.uses`, tensor1d(uses));
      observe(`${site}.mixture.dropped`, tensor1d([dropped]));
      observe(`${site}.mixture.probability`, tensor1d(probability));
    });

  it('[RTS-1] adds passes up: shares of the dispatches, what overflowed of all choices, and who was never used', () => {
    const collector = collectRouting();
    pass(collector, 'layers.0.feedForward', { uses: [3, 1, 0], dropped: 0, probability: [0.5, 0.25, 0.25] });
    pass(collector, 'layers.0.feedForward', { uses: [1, 3, 0], dropped: 4, probability: [0.2, 0.6, 0.2] });
    pass(collector, 'a.layers.1.attention', { uses: [2, 2, 2], dropped: 0, probability: [1 / 3, 1 / 3, 1 / 3] });
    tidy(() => collector.observe('hypernetwork.uses', tensor1d([5])));
    const [first, second, ...rest] = collector.routing();
    assert.deepEqual(rest, []);
    assert.equal(first!.site, 'layers.0.feedForward');
    assert.deepEqual(first!.shares, [0.5, 0.5, 0]);
    assert.deepEqual(first!.unused, [2]);
    assert.equal(first!.droppedShare, 4 / 12);
    assert.ok(Math.abs(first!.evenness - Math.log(2) / Math.log(3)) < 1e-12);
    // A pass weighs by its choices: 4 and 8.
    const expected = [(0.5 * 4 + 0.2 * 8) / 12, (0.25 * 4 + 0.6 * 8) / 12, (0.25 * 4 + 0.2 * 8) / 12];
    for (const [expert, probability] of expected.entries())
      assert.ok(Math.abs(first!.probabilities![expert]! - probability) < 1e-6);
    assert.ok(Math.abs(second!.evenness - 1) < 1e-12 && second!.unused.length === 0);
  });

  it('[RTS-2] nothing but padding, and one expert for all, are no reason to divide by 0', () => {
    const collector = collectRouting();
    pass(collector, 'x', { uses: [0, 0], dropped: 0, probability: [Number.NaN, Number.NaN] });
    assert.deepEqual(collector.routing(), [
      { site: 'x', shares: [0, 0], probabilities: [0, 0], evenness: 0, droppedShare: 0, unused: [0, 1] },
    ]);
    pass(collector, 'x', { uses: [7, 0], dropped: 0, probability: [0.75, 0.25] });
    assert.equal(collector.routing()[0]!.evenness, 0);
    assert.deepEqual(collector.routing()[0]!.probabilities, [0.75, 0.25]);
  });

  it('[RTS-3] reads the counts in the values of an adapter, also of one in a composition; none before the first round', () => {
    const member = { id: 'm', method: 'mixture', size: 2, experts: 3, layers: [1] };
    const layout = layoutOf(parseAdapter({ method: 'stack', members: [member] }, bertLike(2, 8, 8)).tensors);
    const parameters = new Float32Array(layout.dim);
    assert.deepEqual(countedRouting(layout, parameters), []);
    const { offset } = layout.tensors.find(({ name }) => name.endsWith('.uses'))!;
    parameters.set([6, 2, 0], offset);
    const routing = countedRouting(layout, parameters);
    assert.deepEqual(
      routing.map(({ site, shares, unused }) => ({ site, shares, unused })),
      [{ site: 'm.layers.1.feedForward', shares: [0.75, 0.25, 0], unused: [2] }],
    );
    assert.deepEqual(routingLines(routing, 'all tokens'), [
      '  routing     of all tokens, by expert:',
      '    m.layers.1.feedForward  75.0 %  25.0 %  0.0 %, evenness 0.512, never used: 2',
    ]);
    assert.deepEqual(routingLines([], 'all tokens'), []);
  });
});
