import { strict as assert } from 'node:assert';
import { parsePlan, planHashOf } from '../../../shared/plan/plan.ts';
import { describeStrategies, parseTraining } from '../../../shared/plan/training.ts';
import { minimalPlan } from './minimal-plan.ts';

const strategies = {
  warmupSteps: 500,
  groups: [{ tensors: ['layers.*.*.lora.b'], learningRateFactor: 16 }],
  freezing: [{ tensors: ['head'], from: 0.25, until: 0.5 }],
  gradualUnfreezing: 0.125,
  samplingTemperature: 10,
  adversarial: { method: 'pgd', radius: 0.5, steps: 3, stepSize: 0.2 },
};

describe('training of a plan', () => {
  it('[PTR-1] takes every strategy, binds it by the hash, and leaves a plan without any as it was', () => {
    const plain = parsePlan(minimalPlan(), 'the test');
    const plan = parsePlan({ ...minimalPlan(), training: strategies }, 'the test');
    const { seed: _, ...rest } = plan.training;
    for (const [name, value] of Object.entries(strategies))
      assert.deepEqual(Object.entries(rest).find(([own]) => own === name)?.[1], value);
    assert.notEqual(planHashOf(plan), planHashOf(plain));
    for (const name of Object.keys(strategies)) assert.ok(!Object.keys(plain.training).includes(name), name);
  });

  it('[PTR-2] names every wrong field, what is allowed and what was found', () => {
    const faults: readonly [object, RegExp][] = [
      [{ groups: [] }, /groups must be a list of 1 to 256 groups/],
      [
        { groups: [{ tensors: ['head'], learningRateFactor: 0 }] },
        /groups\[0\]\.learningRateFactor must be a number above 0 and at most 10000, found 0/,
      ],
      [
        { groups: [{ tensors: [], learningRateFactor: 1 }] },
        /groups\[0\]\.tensors must be a list of 1 to 256 beginnings of tensor names/,
      ],
      [
        { freezing: [{ tensors: ['head'], untill: 0.5 }] },
        /freezing\[0\]\.untill is not a known field; did you mean until\?/,
      ],
      [{ freezing: [{ tensors: ['head'], from: 0.5, until: 0.5 }] }, /freezing\[0\]\.until must be above its from/],
      [{ adversarial: { method: 'fmg', radius: 1 } }, /adversarial\.method must be one of fgm, pgd, found "fmg"/],
      [{ adversarial: { method: 'fgm', radius: 1, stepSize: 1 } }, /adversarial\.stepSize must be left out with fgm/],
      [{ samplingTemperature: 0 }, /samplingTemperature must be a number above 0/],
      [{ warmupSteps: 1.5 }, /warmupSteps must be a whole number from 0/],
      [{ localSteps: 1, localEpochs: 1 }, /must have one of localEpochs and localSteps, found both/],
    ];
    for (const [training, message] of faults) {
      assert.throws(() => parseTraining(training, 'the test'), { code: 'bad-training', message });
      assert.throws(() => parsePlan({ ...minimalPlan(), training }, 'the test'), { code: 'bad-plan', message });
    }
  });

  it('[PTR-3] says for people what is done beside plain steps', () => {
    assert.deepEqual(describeStrategies(parseTraining(strategies, 'the test')), [
      '500 steps of warm-up',
      'layers.*.*.lora.b at 16 times the rate',
      'head frozen from 25 % to 50 % of the steps',
      'layers join from the top until 12.5 %',
      'parts sampled at temperature 10',
      'pgd on word vectors within 0.5',
    ]);
    assert.deepEqual(describeStrategies(parseTraining({}, 'the test')), []);
  });
});
