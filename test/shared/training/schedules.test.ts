import { strict as assert } from 'node:assert';
import { scheduleOf } from '../../../shared/training/schedules.ts';

describe('scheduleOf', () => {
  const values = (name: 'constant' | 'linear' | 'cosine', warmupFraction: number, stepCount: number) => {
    const schedule = scheduleOf({ name, warmupFraction, stepCount });
    return Array.from({ length: stepCount }, (_, step) => Number(schedule(step).toFixed(6)));
  };

  it('[SCH-1] warms up linearly to 1, then follows its curve', () => {
    assert.deepEqual(values('constant', 0.4, 5), [0.5, 1, 1, 1, 1]);
    assert.deepEqual(values('linear', 0.2, 5), [1, 1, 0.75, 0.5, 0.25]);
    assert.deepEqual(values('linear', 0, 4), [1, 0.75, 0.5, 0.25]);
    assert.deepEqual(values('cosine', 0, 4), [1, 0.853553, 0.5, 0.146447]);
  });

  it('[SCH-2] stays above 0 within the schedule and at 0 beyond it, for every length', () => {
    for (const name of ['constant', 'linear', 'cosine'] as const) {
      for (const stepCount of [1, 2, 7, 100]) {
        for (const warmupFraction of [0, 0.06, 0.5, 0.99]) {
          const schedule = scheduleOf({ name, warmupFraction, stepCount });
          for (let step = 0; step < stepCount; step++) {
            const factor = schedule(step);
            assert.ok(factor > 0 && factor <= 1, `${name} ${warmupFraction} ${stepCount}: ${factor} at ${step}`);
          }
        }
      }
    }
    assert.equal(scheduleOf({ name: 'linear', warmupFraction: 0, stepCount: 4 })(9), 0);
  });

  it('[SCH-3] refuses a schedule without steps and a warm-up that never ends', () => {
    assert.throws(() => scheduleOf({ name: 'linear', warmupFraction: 0, stepCount: 0 }), /at least one step/);
    assert.throws(() => scheduleOf({ name: 'linear', warmupFraction: 1, stepCount: 4 }), /not in \[0, 1\)/);
  });
});
