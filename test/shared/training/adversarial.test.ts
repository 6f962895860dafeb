import { strict as assert } from 'node:assert';
import { grad, memory, type Tensor3D, tensor1d, tensor3d, tidy, zeros } from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import { type AdversarialSettings, ascend, ascentOf } from '../../../shared/training/adversarial.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { nameTensors, splitFlat } from '../../../shared/training/parameters.ts';
import { createTaskModel, type TaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fixtureBase } from '../model/fixtures.ts';

const examples = Array.from({ length: 6 }, (_, row) => ({
  ids: Int32Array.from({ length: 3 + (row % 3) }, (_unused, place) => 5 + ((row * 7 + place * 3) % 90)),
  targets: Int32Array.of(row % 2),
}));
const random = () => seededRandom(1, 'pass');

/** The loss of the examples, all in one batch, as a function of a change of their word vectors. */
function lossWith(model: TaskModel, parameters: Float32Array) {
  const arranged = model.arrange(examples, random);
  const named = nameTensors(splitFlat(tensor1d(parameters), model.layout), model.layout);
  const lossAt = (wordChange: Tensor3D) => {
    const mode = { training: false, random: random(), wordChange };
    return model.loss(named, model.states(named, arranged, mode), arranged);
  };
  const value = (change: Tensor3D): number => tidy(() => lossAt(change).dataSync()[0]!);
  return {
    shape: model.wordShape(arranged),
    value,
    gradient: (change: Tensor3D) => grad((moved) => lossAt(moved as Tensor3D))(change) as Tensor3D,
  };
}

/** A change of the words for the worse, as training finds it. */
function worst({ shape, gradient }: ReturnType<typeof lossWith>, settings: AdversarialSettings): Tensor3D {
  const { steps, stepSize } = ascentOf(settings);
  let change: Tensor3D = zeros(shape);
  for (let step = 0; step < steps; step++)
    change = ascend(change, gradient(change), { radius: settings.radius, stepSize });
  return change;
}

describe('adversarial training', () => {
  let base: BaseModel;
  before(async () => {
    await useBackend('wasm');
    base = fixtureBase('bert');
  });
  after(() => base.dispose());

  const modelOf = () => {
    const adapter = parseAdapter({ method: 'lora', rank: 2 }, base.description);
    const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'first', lengthMax: 8 } as const;
    const model = createTaskModel({ base, adapter, task });
    const start = model.initialise(1);
    // A head as large as one that learned something, so that words matter.
    const head = model.layout.tensors.find(({ name }) => name === 'head.kernel')!;
    for (let index = 0; index < head.size; index++) start[head.offset + index]! *= 20;
    return { model, start };
  };

  it('[FGM-1] moves every text by the step along its own gradient and back into the ball; none where there is no gradient', async () => {
    const change = tensor3d([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [3, 2, 2]);
    const gradient = tensor3d([0, 3e-12, 0, 4e-12, 0, 5e9, 0, 0, 0, 0, 0, 0], [3, 2, 2]);
    const near = async (found: Tensor3D, expected: readonly number[]) => {
      for (const [index, value] of (await found.data()).entries())
        assert.ok(Math.abs(value - expected[index]!) < 1e-6, `value ${index}: ${value}, expected ${expected[index]}`);
    };
    await near(ascend(change, gradient, { radius: 100, stepSize: 1 }), [3, 0.6, 0, 0.8, 0, 1, 0, 0, 0, 0, 0, 0]);
    const short = Math.sqrt(10);
    const inBall = [6 / short, 1.2 / short, 0, 1.6 / short, 0, 1, 0, 0, 0, 0, 0, 0];
    await near(ascend(change, gradient, { radius: 2, stepSize: 1 }), inBall);
    assert.deepEqual(ascentOf({ method: 'fgm', radius: 0.5, steps: 7 }), { steps: 1, stepSize: 0.5 });
    assert.deepEqual(ascentOf({ method: 'pgd', radius: 0.5, steps: 5 }), { steps: 5, stepSize: 0.25 });
  });

  it('[FGM-2] its gradient in the word vectors is that of finite differences, and 0 on padding', async () => {
    const { model, start } = modelOf();
    const loss = lossWith(model, start);
    const found = (await loss.gradient(zeros(loss.shape)).data()) as Float32Array;
    const [, length, width] = loss.shape;
    const at = (row: number, place: number, column: number) => (row * length + place) * width + column;
    const largest = found.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    assert.ok(largest > 1e-3, `the gradient is at most ${largest}`);
    for (const index of [at(0, 0, 1), at(1, 2, 5), at(3, 1, 0), at(5, 4, 7)]) {
      const moved = (size: number) => {
        const values = new Float32Array(found.length);
        values[index] = size;
        return loss.value(tensor3d(values, loss.shape));
      };
      const expected = (moved(0.02) - moved(-0.02)) / 0.04;
      assert.ok(Math.abs(found[index]! - expected) < 0.02 * largest, `${index}: ${found[index]}, expected ${expected}`);
    }
    for (let column = 0; column < width; column++) assert.ok(found[at(0, 3, column)] === 0, 'padding');
  });

  it('[FGM-3] makes the loss worse than chance does; more steps at least as much', () => {
    const { model, start } = modelOf();
    const loss = lossWith(model, start);
    const radius = 0.5;
    const stream = seededRandom(2, 'chance');
    const noise = tensor3d(
      Float32Array.from({ length: loss.shape.reduce((size, extent) => size * extent, 1) }, () => stream.normal()),
      loss.shape,
    );
    const chance = ascend(zeros(loss.shape), noise, { radius, stepSize: radius });
    const [none, random, fgm, pgd] = [
      loss.value(zeros(loss.shape)),
      loss.value(chance),
      loss.value(worst(loss, { method: 'fgm', radius })),
      loss.value(worst(loss, { method: 'pgd', radius, steps: 5 })),
    ] as const;
    assert.ok(fgm - none > 3 * Math.abs(random - none), `${none}, by chance ${random}, by gradient ${fgm}`);
    assert.ok(pgd >= fgm - 1e-4, `${fgm} in one step, ${pgd} in five`);
  });

  it('[FGM-4] trains deterministically, leaves no tensor, and what it trains stands up better to changed words', async () => {
    const train = async (adversarial: AdversarialSettings | undefined) => {
      const { model, start } = modelOf();
      const configuration = {
        ...defaultTraining,
        localEpochs: undefined,
        localSteps: 12,
        learningRate: 0.02,
        schedule: 'constant' as const,
        adversarial,
      };
      const before = memory().numTensors;
      const { parameters } = await trainLocally({
        model,
        start,
        source: memorySource(examples),
        configuration,
        seed: 1,
      });
      assert.equal(memory().numTensors, before);
      const loss = lossWith(model, parameters);
      return { parameters, attacked: loss.value(worst(loss, { method: 'pgd', radius: 0.5, steps: 3 })) };
    };
    const settings = { method: 'fgm', radius: 0.5 } as const;
    const [plain, fgm, again, pgd] = [
      await train(undefined),
      await train(settings),
      await train(settings),
      await train({ method: 'pgd', radius: 0.5, steps: 2 }),
    ];
    assert.deepEqual(again.parameters, fgm.parameters);
    assert.ok(fgm.attacked < plain.attacked, `under attack: ${plain.attacked} plain, ${fgm.attacked} with fgm`);
    assert.ok(pgd.attacked < plain.attacked, `under attack: ${plain.attacked} plain, ${pgd.attacked} with pgd`);
  });
});
