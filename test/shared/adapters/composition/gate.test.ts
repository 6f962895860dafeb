import { strict as assert } from 'node:assert';
import { mul, type Scalar, sum, type Tensor, tensor } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { bertLike } from '../bases.ts';
import { assertClose, assertGradients, evaluating, randomTensors } from '../checks.ts';
import { hostResult, randomStates, tensorsOf } from '../sublayer-host.ts';

const base = bertLike(2, 6, 12);
const member = { id: 'a', method: 'bottleneck', size: 2, activation: 'tanh' };
const { id: _id, ...alone } = member;
const bind = (settings: object = {}) =>
  parseAdapter({ method: 'gate', members: [member], penalty: 0.1, ...settings }, base);
const at = (layerIndex: number) => ({ layerIndex, sublayer: 'feedForward' }) as const;
/** Layers times attention and feed-forward. */
const withLogits = (parameters: Map<string, Tensor>, logits: number[]) =>
  new Map([...parameters, ['gate.logits', tensor(logits, [2, 2])] as const]);

describe('gate', () => {
  before(() => useBackend('wasm'));

  it('[MGT-1] multiplies what the member changes by a gate between 0 and 1', () => {
    const adapter = bind();
    const parameters = withLogits(randomTensors(adapter), [0, 0.5, 0, 9]);
    const states = randomStates([2, 3, 6]);
    const changeAt = (layerIndex: number, named: Map<string, Tensor>, whole = adapter) =>
      whole.hooks(evaluating(named)).change!(at(layerIndex), states.output, states.residual, undefined)!;
    const own = parseAdapter(alone, base);
    const z = 1.2 / (1 + Math.exp(-0.5)) - 0.1;
    const plain = (layerIndex: number) => changeAt(layerIndex, tensorsOf('a', parameters), own);
    assertClose(changeAt(0, parameters).dataSync(), [...mul(plain(0), z).dataSync()], 1e-5);
    assertClose(changeAt(1, parameters).dataSync(), [...plain(1).dataSync()], 1e-5);
  });

  it('[MGT-2] where it is closed the member is not run, and the base is as it was', () => {
    const adapter = bind();
    const parameters = withLogits(randomTensors(adapter), [0, -3, 0, 3]);
    parameters.delete('a.layers.0.feedForward.bottleneck.down.kernel');
    const states = randomStates([2, 3, 6]);
    const none = hostResult(parseAdapter({ method: 'none' }, base), evaluating(new Map()), base, states, at(0));
    assert.deepEqual(hostResult(adapter, evaluating(parameters), base, states, at(0)).dataSync(), none.dataSync());
    assert.throws(() => hostResult(adapter, evaluating(withLogits(parameters, [0, 3, 0, 3])), base, states, at(0)));
  });

  it('[MGT-3] in training gates are closed as often as the penalty counts, and the seed decides which', () => {
    const adapter = bind();
    const parameters = withLogits(randomTensors(adapter), [-1, -1, -1, -1]);
    const states = randomStates([1, 1, 6]);
    const isClosed = (seed: number) => {
      const context = { parameters, training: true, random: seededRandom(seed) };
      return adapter.hooks(context).change!(at(0), states.output, states.residual, undefined) === undefined;
    };
    const closed = Array.from({ length: 400 }, (_, seed) => isClosed(seed)).filter(Boolean).length / 400;
    const expected = 1 - 1 / (1 + Math.exp(1 + (2 / 3) * Math.log(0.1 / 1.1)));
    assert.ok(Math.abs(closed - expected) < 0.07, `${closed}, expected ${expected}`);
    assert.equal(isClosed(7), isClosed(7));
  });

  it('[MGT-4] the loss is the penalty times the expected number of open gates, once for a pass', () => {
    const adapter = bind({ penalty: 0.5 });
    const parameters = withLogits(randomTensors(adapter), [0, 1, 2, 3]);
    const losses: number[] = [];
    const addLoss = (_: string, loss: Scalar) => losses.push(loss.dataSync()[0]!);
    const states = randomStates([1, 2, 6]);
    const { change } = adapter.hooks({ ...evaluating(parameters), addLoss });
    for (const layer of [0, 1]) change!(at(layer), states.output, states.residual, undefined);
    const open = [0, 1, 2, 3].map((logit) => 1 / (1 + Math.exp(-(logit - (2 / 3) * Math.log(0.1 / 1.1)))));
    assert.equal(losses.length, 1);
    assertClose(losses, [0.5 * open.reduce((left, right) => left + right)], 1e-5);
  });

  for (const training of [false, true]) {
    it(`[MGT-5] gradients ${training ? 'in training' : 'in evaluation'} equal finite differences`, () => {
      const adapter = bind();
      const states = randomStates([1, 2, 6]);
      const run = (parameters: ReadonlyMap<string, Tensor>, seed: number) => {
        const losses: Tensor[] = [];
        const addLoss = (_: string, loss: Scalar) => losses.push(loss);
        const { change } = adapter.hooks({ parameters, training, random: seededRandom(seed), addLoss });
        const results = [0, 1].map((layer) => change!(at(layer), states.output, states.residual, undefined));
        return { losses, results: results.filter((one) => one !== undefined) };
      };
      const start = withLogits(randomTensors(adapter), [0.3, 0.2, -0.4, 0.1]);
      // Where a gate is closed there is nothing to differentiate.
      const open = Array.from({ length: 50 }, (_, seed) => seed).find((seed) => run(start, seed).results.length === 2)!;
      assertGradients(start, (parameters) => {
        const { losses, results } = run(parameters, open);
        return [...results.map((one) => sum(mul(one, states.residual))), ...losses].reduce((left, right) =>
          left.add(right),
        );
      });
    });
  }

  it('[MGT-6] faults are named', () => {
    assert.throws(
      () => bind({ members: [member, { ...member, id: 'b' }] }),
      /members must be one adapter, found 2; compose them first/,
    );
    assert.throws(() => bind({ penalty: undefined }), /penalty must be a number at least 0, found nothing/);
    assert.throws(
      () => bind({ members: [{ id: 'p', method: 'prompt' }] }),
      /members\[0\]\.method must act at linear maps or/,
    );
  });
});
