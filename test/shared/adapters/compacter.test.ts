import { strict as assert } from 'node:assert';
import { mul, sum, type Tensor, tensor, tensor3d } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { bertLike, gpt2Like } from './bases.ts';
import { assertClose, assertGradients, evaluating, initialTensors, parameterCount, randomTensors } from './checks.ts';
import { plus, type Rows, rowsOf, times } from './numbers.ts';
import { hostResult, randomStates } from './sublayer-host.ts';

/** Σ_i A_i ⊗ (s_i t_iᵀ) by the definition of the Kronecker product. */
function kroneckerSum(rule: readonly Rows[], left: Rows, right: Rows): number[][] {
  const n = rule.length;
  const [inPart, outPart] = [left[0]!.length, right[0]!.length];
  return Array.from({ length: n * inPart }, (_, row) =>
    Array.from({ length: n * outPart }, (_unused, column) =>
      rule.reduce((total, block, index) => {
        const outer = block[Math.floor(row / inPart)]![Math.floor(column / outPart)]!;
        return total + outer * left[index]![row % inPart]! * right[index]![column % outPart]!;
      }, 0),
    ),
  );
}

/** Values of one map of an adapter with n = `dimension`, from its tensors. */
function matrixOf(parameters: ReadonlyMap<string, Tensor>, name: string, dimension: number): number[][] {
  const values = (part: string) => parameters.get(part)!.dataSync();
  const rule = values('compacter.rule');
  const blocks = Array.from({ length: dimension }, (_, index) =>
    rowsOf(rule.slice(index * dimension ** 2, (index + 1) * dimension ** 2), dimension),
  );
  const factor = (part: string) => rowsOf(values(`${name}.${part}`), values(`${name}.${part}`).length / dimension);
  return kroneckerSum(blocks, factor('left'), factor('right'));
}

describe('compacter', () => {
  before(() => useBackend('wasm'));

  it('[PHM-1] the map gives the golden vector', () => {
    // As wide as its host. The second map, I ⊗ (s t) with s and t of one value, lets one value of each half through.
    const base = gpt2Like(1, 4);
    const adapter = parseAdapter({ method: 'compacter', dimension: 2, size: 4, activation: 'relu' }, base);
    const site = 'layers.0.feedForward.compacter';
    const parameters = new Map<string, Tensor>([
      ['compacter.rule', tensor([1, 0, 0, 1, 0, 1, -1, 0], [2, 2, 2])],
      [`${site}.down.left`, tensor([1, 2, 0.5, 0], [2, 2])],
      [`${site}.down.right`, tensor([1, -1, 2, 1], [2, 2])],
      [`${site}.down.bias`, tensor([100, 100, 100, 100])],
      [`${site}.up.left`, tensor([1, 0, 0, 0], [2, 2])],
      [`${site}.up.right`, tensor([1, 0, 0, 0], [2, 2])],
      [`${site}.up.bias`, tensor([0, 0, 0, 0])],
    ]);
    // x H = [2, -6.5, 12, -10.5]; the bias of 100 keeps relu out of it.
    const states = { output: tensor3d([[[1, 2, 3, 4]]]), residual: tensor3d([[[0, 0, 0, 0]]]) };
    const found = hostResult(adapter, evaluating(parameters), base, states);
    assertClose(found.dataSync(), [1 + 102, 2, 3 + 112, 4], 1e-4);
    parameters.set(`${site}.up.left`, tensor([0, 1, 0, 0], [2, 2]));
    assertClose(hostResult(adapter, evaluating(parameters), base, states).dataSync(), [1 + 93.5, 2, 3 + 89.5, 4], 1e-4);
  });

  it('[PHM-2] both maps equal the sum of Kronecker products in float64, at both sites', () => {
    const base = gpt2Like(1, 8);
    const settings = { method: 'compacter', placement: 'houlsby', dimension: 2, size: 4, activation: 'relu' };
    const adapter = parseAdapter(settings, base);
    const parameters = randomTensors(adapter, 0.8);
    for (const sublayer of ['attention', 'feedForward'] as const) {
      const states = randomStates([2, 3, 8]);
      const name = `layers.0.${sublayer}.compacter`;
      const bias = (part: string) => [...parameters.get(`${name}.${part}.bias`)!.dataSync()];
      const [h, x] = [rowsOf(states.output.dataSync(), 8), rowsOf(states.residual.dataSync(), 8)];
      const down = plus(times(h, matrixOf(parameters, `${name}.down`, 2)), bias('down'));
      const active = down.map((row) => row.map((value) => Math.max(0, value)));
      const up = plus(times(active, matrixOf(parameters, `${name}.up`, 2)), bias('up'));
      const found = hostResult(adapter, evaluating(parameters), base, states, { layerIndex: 0, sublayer });
      assertClose(found.dataSync(), plus(plus(h, x), up).flat(), 1e-4);
    }
  });

  it('[PHM-3] parameter counts on BERT-base are the published ones', () => {
    const count = (settings: object) => parameterCount(parseAdapter({ method: 'compacter', ...settings }, bertLike()));
    assert.equal(count({ placement: 'houlsby' }), 57_088);
    assert.equal(count({}), 28_576);
  });

  it('[PHM-4] nothing changes before training', () => {
    for (const base of [bertLike(1, 8, 16), gpt2Like(1, 8)]) {
      for (const placement of ['pfeiffer', 'houlsby']) {
        const adapter = parseAdapter({ method: 'compacter', placement, dimension: 2, size: 4 }, base);
        const states = randomStates([2, 3, 8]);
        const bare = hostResult(parseAdapter({ method: 'none' }, base), evaluating(new Map()), base, states);
        const found = hostResult(adapter, evaluating(initialTensors(adapter)), base, states);
        assert.deepEqual(found.dataSync(), bare.dataSync());
      }
    }
  });

  it('[PHM-5] gradients of rule, factors and biases equal finite differences', () => {
    const base = bertLike(1, 4, 8);
    const adapter = parseAdapter({ method: 'compacter', dimension: 2, size: 4, activation: 'tanh' }, base);
    const states = randomStates([1, 3, 4]);
    const probe = randomStates([1, 3, 4], 2).output;
    assertGradients(randomTensors(adapter), (tensors) =>
      sum(mul(probe, hostResult(adapter, evaluating(tensors), base, states))),
    );
  });

  it('[PHM-6] trains all, or s and biases alone, in which a mean over clients is exact', () => {
    const classes = (trains: string) => {
      const { tensors } = parseAdapter({ method: 'compacter', trains, layers: [0] }, bertLike());
      return tensors.map(({ name, aggregationClass }) => `${name.split('.').at(-1)} ${aggregationClass}`);
    };
    assert.ok(classes('all').every((text) => text.endsWith(' mean')));
    const parts = ['left mean', 'right frozen', 'bias mean'];
    assert.deepEqual(classes('left'), ['rule frozen', ...parts, ...parts]);
  });

  it('[PHM-7] a base too small for the published width gets the next that n divides', () => {
    const { configuration } = parseAdapter({ method: 'compacter' }, bertLike(2, 64, 128));
    assert.equal(configuration.size, 4);
    assert.equal(configuration.reductionFactor, undefined);
    assert.equal(parseAdapter({ method: 'compacter' }, bertLike()).configuration.reductionFactor, 32);
  });

  const faults: readonly [object, RegExp][] = [
    [{ dimension: 5 }, /dimension must divide the hidden size, which is 768, found 5/],
    [{ dimension: 24 }, /dimension must be a whole number from 1 to 16, found 24/],
    [{ size: 6 }, /dimension must divide the width of a bottleneck, which is 6, found 4/],
    [{ placement: 'parallel' }, /placement must be one of pfeiffer, houlsby, found "parallel"/],
    [{ trains: 'right' }, /trains must be one of all, left, found "right"/],
  ];
  for (const [settings, message] of faults) {
    it(`[PHM-8] a fault (${JSON.stringify(settings)}) is named with what is allowed and what was found`, () => {
      assert.throws(
        () => parseAdapter({ method: 'compacter', ...settings }, bertLike()),
        (error) => error instanceof UsageError && error.code === 'bad-adapter' && message.test(error.message),
      );
    });
  }
});
