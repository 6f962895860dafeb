import { strict as assert } from 'node:assert';
import { judgeCandidate } from '../../../coordinator/canary/judge.ts';

describe('judgeCandidate', () => {
  const canary = { metric: 'accuracy', drop: 0.05 } as const;

  it('[JDG-1] lets through what is as good as the version before, up to the allowed drop', () => {
    for (const candidate of [0.95, 0.9, 0.851])
      assert.equal(judgeCandidate(canary, { candidate, before: 0.9 }), null, `${candidate}`);
    assert.match(judgeCandidate(canary, { candidate: 0.84, before: 0.9 }) ?? '', /84\.0 %.* 90\.0 %.* 5\.0 %/);
  });

  it('[JDG-2] knows which direction is worse', () => {
    const loss = { metric: 'loss', drop: 0.1, least: 2 } as const;
    assert.equal(judgeCandidate(loss, { candidate: 1.05, before: 1 }), null);
    assert.equal(judgeCandidate(loss, { candidate: 0.2, before: 1 }), null);
    assert.match(judgeCandidate(loss, { candidate: 1.2, before: 1 }) ?? '', /worse by more/);
    assert.match(judgeCandidate(loss, { candidate: 2.05, before: 2 }) ?? '', /at most 2\.000/);
  });

  it('[JDG-3] holds the least value also where there is nothing to compare with', () => {
    const demanding = { ...canary, least: 0.5 };
    assert.equal(judgeCandidate(demanding, { candidate: 0.5, before: null }), null);
    assert.match(judgeCandidate(demanding, { candidate: 0.49, before: null }) ?? '', /at least 50\.0 %/);
    assert.equal(judgeCandidate(canary, { candidate: 0, before: null }), null);
  });

  it('[JDG-4] refuses what nobody measured, and what is no number', () => {
    for (const candidate of [null, Number.NaN])
      assert.match(judgeCandidate(canary, { candidate, before: 0.9 }) ?? '', /nobody could measure/);
  });
});
