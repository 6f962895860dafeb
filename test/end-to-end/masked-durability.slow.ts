import { strict as assert } from 'node:assert';
import { closeWorlds } from '../coordinator/harness.ts';
import { checkKilled, type Moment } from './masked-killing.ts';

describe('a coordinator of masked rounds that is killed anywhere', () => {
  afterEach(closeWorlds);

  for (const moment of ['before', 'after'] as const satisfies readonly Moment[]) {
    it(`[MDU-2] ${moment} any step on durable state: one version, everybody in it once`, async function () {
      this.timeout(600_000);
      const seen = new Set<string>();
      let sameRound = 0;
      for (let killAt = 1, isDead = true; isDead; killAt++) {
        const found = await checkKilled(killAt, moment);
        isDead = found.isDead;
        if (found.roundIndex === 0) sameRound++;
        for (const name of found.names) seen.add(name);
      }
      for (const name of ['openRound', 'openAttempt', 'addAttemptMessage', 'commit', 'addUpdate', 'publish', 'delete'])
        assert.ok(seen.has(name), `${name} was never done`);
      assert.ok(sameRound > 20, `${sameRound} rounds were finished under their number`);
    });
  }
});
