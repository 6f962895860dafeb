import { strict as assert } from 'node:assert';
import { eye, mul, neg, type Scalar, sum, type Tensor, tensor, tensor3d, zeros } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { bertLike } from '../bases.ts';
import { assertClose, assertGradients, evaluating, initialTensors, parameterCount, randomTensors } from '../checks.ts';
import { hostResult, randomStates } from '../sublayer-host.ts';

const members = ['a', 'b', 'c'].map((id) => ({ id, method: 'bottleneck', size: 2, activation: 'tanh', layers: [0] }));
const base = bertLike(1, 6, 12);

describe('AdapterFusion', () => {
  before(() => useBackend('wasm'));

  it('[FUS-1] two adapters, the second half the first with its sign turned, give the golden vector', () => {
    const host = bertLike(1, 4, 8);
    const fuse = parseAdapter(
      { method: 'fuse', members: members.slice(0, 2).map((one) => ({ ...one, activation: 'relu' })) },
      host,
    );
    const up = tensor([0.5, 0, 1, 0, 0, -0.5, 1, 0.25], [2, 4]);
    const bias = tensor([0, 0.1, 0, 0]);
    const site = 'layers.0.feedForward.bottleneck';
    const parameters = new Map<string, Tensor>();
    for (const [id, factor] of [
      ['a', 1],
      ['b', -0.5],
    ] as const) {
      parameters.set(`${id}.${site}.down.kernel`, tensor([1, 0, 0, 1, -1, 0, 0, 1], [4, 2]));
      parameters.set(`${id}.${site}.down.bias`, tensor([0.1, -0.2]));
      parameters.set(`${id}.${site}.up.kernel`, mul(up, factor));
      parameters.set(`${id}.${site}.up.bias`, mul(bias, factor));
    }
    for (const part of ['query', 'key', 'value']) parameters.set(`fusion.layers.0.feedForward.${part}.kernel`, eye(4));
    for (const part of ['query', 'key']) parameters.set(`fusion.layers.0.feedForward.${part}.bias`, zeros([4]));
    const seen: number[][] = [];
    const observe = (_: string, value: Tensor) => seen.push([...value.dataSync()]);
    const states = { residual: tensor3d([[[1, 2, 0, -1]]]), output: tensor3d([[[0.5, -1, 0, 1]]]) };
    const found = hostResult(fuse, { ...evaluating(parameters), observe }, host, states);
    assertClose(found.dataSync(), [1.27575, 0.665424, -1.121574, -0.8196], 2e-6);
    assert.equal(seen.length, 1);
    assertClose(seen[0]!, [0.27754, 0.72246], 2e-6);
  });

  it('[FUS-2] parameter counts are the published ones, and those of the low-rank variant 4 r d', () => {
    const bert = bertLike();
    const own = (settings: object) => {
      const { tensors } = parseAdapter(
        { method: 'fuse', members: members.map(({ layers: _layers, ...rest }) => rest), ...settings },
        bert,
      );
      return parameterCount({ tensors: tensors.filter(({ name }) => name.startsWith('fusion.')) });
    };
    assert.equal(own({}), 21_252_096);
    assert.equal(own({ value: false }), 12 * (2 * 768 ** 2 + 2 * 768));
    assert.equal(own({ rank: 16 }), 12 * 4 * 16 * 768);
  });

  it('[FUS-8] members that name no sites are fused wherever they act', () => {
    const hypernetwork = { id: 'h', method: 'hyperformer', layers: [1], reductionFactor: 2, embeddingSize: 2 };
    const host = bertLike(2, 6, 12);
    const fuse = parseAdapter({ method: 'fuse', members: [members[0]!, hypernetwork] }, host);
    const sites = new Set(fuse.tensors.flatMap(({ name }) => /^fusion\.(layers\.\d\.\w+)/.exec(name)?.[1] ?? []));
    assert.deepEqual(sites, new Set(['layers.0.feedForward', 'layers.1.attention', 'layers.1.feedForward']));
    const parameters = randomTensors(fuse);
    for (const layerIndex of [0, 1]) {
      for (const sublayer of ['attention', 'feedForward'] as const)
        hostResult(fuse, evaluating(parameters), host, randomStates([1, 2, 6]), { layerIndex, sublayer });
    }
  });

  it('[FUS-3] members are frozen unless they say otherwise', () => {
    const asked = [members[0]!, { ...members[1]!, frozen: false }];
    const { tensors } = parseAdapter({ method: 'fuse', members: asked }, base);
    const classOf = (id: string) =>
      new Set(tensors.filter(({ name }) => name.startsWith(`${id}.`)).map((one) => one.aggregationClass));
    assert.deepEqual(
      [classOf('a'), classOf('b'), classOf('fusion')],
      [new Set(['frozen']), new Set(['mean']), new Set(['mean'])],
    );
  });

  it('[FUS-4] values start as the identity: near the attended mean, at no cost to the regulariser', () => {
    it('[FUS-7] a temperature may fall from step to step until it is 1; a high one evens attention out', () => {
      const fuse = parseAdapter({ method: 'fuse', members, temperature: { start: 50, decrease: 20 } }, base);
      const parameters = randomTensors(fuse);
      const states = randomStates([1, 2, 6]);
      const attention = (step?: number, adapter = fuse) => {
        let found: number[] = [];
        const observe = (_: string, value: Tensor) => {
          found = [...value.dataSync()];
        };
        hostResult(
          adapter,
          { ...evaluating(parameters), observe, ...(step === undefined ? {} : { step }) },
          base,
          states,
        );
        return found;
      };
      const fixed = (temperature: number) => attention(0, parseAdapter({ method: 'fuse', members, temperature }, base));
      assert.deepEqual(attention(0), fixed(50));
      assert.deepEqual(attention(2), fixed(10));
      assert.deepEqual(attention(3), fixed(1));
      assert.deepEqual(attention(), fixed(1));
      const spread = (list: number[]) => Math.max(...list) - Math.min(...list);
      assert.ok(spread(attention(0)) < spread(attention(3)));
    });

    for (const settings of [{}, { rank: 2 }]) {
      const fuse = parseAdapter({ method: 'fuse', members, ...settings }, base);
      const start = initialTensors(fuse);
      const losses: number[] = [];
      const addLoss = (name: string, loss: Scalar) => {
        assert.equal(name, 'fusion.layers.0.feedForward.value');
        losses.push(loss.dataSync()[0]!);
      };
      hostResult(fuse, { ...evaluating(start), addLoss }, base, randomStates([1, 2, 6]));
      assert.equal(losses.length, 1);
      assert.ok(losses[0]! >= 0 && losses[0]! < 1e-9, `${losses[0]}`);
    }
  });

  it('[FUS-5] the regulariser is λ ‖I − W_v‖², in the low-rank variant of the product', () => {
    const lossOf = (settings: object, named: Record<string, Tensor>) => {
      const fuse = parseAdapter({ method: 'fuse', members, regularisation: 0.5, ...settings }, base);
      const parameters = new Map(randomTensors(fuse));
      for (const [part, value] of Object.entries(named))
        parameters.set(`fusion.layers.0.feedForward.value.${part}`, value);
      let found = Number.NaN;
      const addLoss = (_: string, loss: Scalar) => {
        found = loss.dataSync()[0]!;
      };
      hostResult(fuse, { ...evaluating(parameters), addLoss }, base, randomStates([1, 2, 6]));
      return found;
    };
    assertClose([lossOf({}, { kernel: neg(eye(6)) })], [0.5 * 4 * 6], 1e-5);
    const down = tensor([1, 0, 0, 0, 0, 0], [6, 1]);
    assertClose([lossOf({ rank: 1 }, { down, up: tensor([1, 2, 0, 0, 0, 0], [1, 6]) })], [0.5 * 5], 1e-5);
  });

  for (const settings of [{}, { rank: 2 }, { value: false, temperature: 3 }, { queryBeforeNorm: true }]) {
    it(`[FUS-6] gradients with ${JSON.stringify(settings)} equal finite differences, those of the regulariser with them`, () => {
      const trained = members.map((member) => ({ ...member, frozen: false }));
      const fuse = parseAdapter({ method: 'fuse', members: trained, ...settings }, base);
      const states = randomStates([2, 2, 6]);
      assertGradients(randomTensors(fuse, 0.4), (parameters) => {
        const losses: Tensor[] = [];
        const result = hostResult(
          fuse,
          { ...evaluating(parameters), addLoss: (_, loss) => losses.push(loss) },
          base,
          states,
        );
        return losses.reduce((left, right) => left.add(right), sum(mul(result, states.residual)));
      });
    });
  }
});
