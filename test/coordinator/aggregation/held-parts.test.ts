import { strict as assert } from 'node:assert';
import { holdFrozenParts } from '../../../coordinator/aggregation/held-parts.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { minimalPlan } from '../../shared/plan/minimal-plan.ts';

const tensor = (name: string) => ({ name, shape: [2], aggregationClass: 'mean', decays: true }) as const;
const layout = layoutOf(['layers.0.x', 'layers.1.x', 'head.kernel'].map(tensor));

describe('parts that a schedule freezes', () => {
  const heldAfter = (training: object, roundIndex: number): number[] => {
    const rounds = { count: 4, quorum: 1 };
    const plan = parsePlan({ ...minimalPlan(), training, rounds }, 'the test');
    const next = new Float32Array(6).fill(9);
    holdFrozenParts(next, new Float32Array(6), { plan, layout, roundIndex });
    return [...next];
  };

  it('[HLD-1] keep what was published in rounds that are frozen from end to end, and move in all others', () => {
    const training = {
      freezing: [
        { tensors: ['layers.0'], until: 0.5 },
        { tensors: ['head'], from: 0.6 },
      ],
    };
    assert.deepEqual(heldAfter(training, 0), [0, 0, 9, 9, 9, 9]);
    assert.deepEqual(heldAfter(training, 1), [0, 0, 9, 9, 9, 9]);
    assert.deepEqual(heldAfter(training, 2), [9, 9, 9, 9, 9, 9]);
    assert.deepEqual(heldAfter(training, 3), [9, 9, 9, 9, 0, 0]);
    assert.deepEqual(heldAfter(training, 7), [9, 9, 9, 9, 0, 0]);
    assert.deepEqual(heldAfter({}, 0), [9, 9, 9, 9, 9, 9]);
    assert.deepEqual(heldAfter({ gradualUnfreezing: 0.5 }, 0), [0, 0, 0, 0, 9, 9]);
    assert.deepEqual(heldAfter({ gradualUnfreezing: 0.5 }, 1), [0, 0, 9, 9, 9, 9]);
  });
});
