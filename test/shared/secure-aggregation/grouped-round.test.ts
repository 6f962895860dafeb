import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { thresholdsOf } from '../../../shared/secure-aggregation/threshold.ts';
import { plainSum } from './cohort.ts';
import { type GroupedCohortOutcome, runGroupedCohort, type SentKind } from './grouped-cohort.ts';

const dim = 5;
const grouping = { size: 5, clientCountMin: 3 };
const kinds: readonly SentKind[] = ['ADVERT', 'DRAW', 'SHARES', 'MASKED', 'AGREE', 'UNMASK'];

/** Every group's sum is the plain sum of its survivors, all of its own members. */
function checkSums({ opened, groups }: GroupedCohortOutcome): void {
  for (const { group, survivors, sum } of opened) {
    assert.deepEqual(sum, plainSum(survivors, dim));
    const strangers = survivors.filter((index) => !groups[group]!.includes(index));
    assert.deepEqual(strangers, []);
  }
}

describe('masked round in groups', () => {
  it('[GRP-1] every group opens the plain sum of its members, and everybody is in one', () => {
    const outcome = runGroupedCohort({ clientCount: 33, grouping });
    assert.deepEqual(outcome.rejected, []);
    assert.equal(outcome.opened.length, 6);
    checkSums(outcome);
    const counted = outcome.opened.flatMap(({ survivors }) => survivors).sort((left, right) => left - right);
    assert.deepEqual(counted, [...Array(33).keys()]);
    assert.ok(outcome.clients.every(({ phase }) => phase.name === 'unmasking'));
  });

  it('[masks-cancel-any-dropout] groups: clients vanish anywhere; each group opens with its threshold and not below', () => {
    const random = seededRandom(3, 'vanishing in groups');
    let [whole, partly, none] = [0, 0, 0];
    for (let run = 0; run < 16; run++) {
      const clientCount = 15 + random.integer(10);
      const before = new Map<number, SentKind>();
      for (let index = 0; index < clientCount; index++)
        if (random.integer(6) === 0) before.set(index, kinds[2 + random.integer(4)]!);
      const reaches = (index: number, kind: SentKind): boolean => {
        const last = before.get(index);
        return last === undefined || kinds.indexOf(last) > kinds.indexOf(kind);
      };
      const vanishes = (index: number, kind: SentKind): boolean => !reaches(index, kind);
      const outcome = runGroupedCohort({ clientCount, grouping, seed: run + 2, vanishes });
      assert.deepEqual(outcome.rejected, []);
      checkSums(outcome);
      if (outcome.server.phase.name === 'aborted') {
        none++;
        assert.deepEqual(outcome.opened, []);
        continue;
      }
      const isEnough = outcome.groups.map((members) => {
        const { shares } = thresholdsOf(members.length, 'active');
        return kinds.slice(2).every((kind) => members.filter((index) => reaches(index, kind)).length >= shares);
      });
      assert.deepEqual(
        outcome.opened.map(({ group }) => group),
        isEnough.flatMap((enough, group) => (enough ? [group] : [])),
      );
      for (const { group, survivors } of outcome.opened)
        assert.deepEqual(
          survivors,
          outcome.groups[group]!.filter((index) => reaches(index, 'MASKED')).sort((left, right) => left - right),
        );
      assert.deepEqual(
        [...new Set(outcome.leftOut)].sort((left, right) => left - right),
        isEnough.flatMap((enough, group) => (enough ? [] : [group])),
      );
      if (isEnough.every(Boolean)) whole++;
      else partly++;
    }
    assert.ok(whole > 0 && partly > 2 && none > 0, `${whole} whole, ${partly} partly, ${none} not opened`);
  });

  it('[GRP-2] a group that lost its members at any stage is left out and shows nothing; its members hear so', () => {
    for (const last of ['SHARES', 'MASKED', 'AGREE', 'UNMASK'] as const) {
      // Of the group only the first two members that say anything are left from this message on.
      const members = new Set<number>();
      const spared = () => [...members].slice(0, 2);
      const vanishes = (index: number, kind: SentKind, group: number | null): boolean => {
        if (group === 1) members.add(index);
        return members.has(index) && !spared().includes(index) && kinds.indexOf(kind) >= kinds.indexOf(last);
      };
      const outcome = runGroupedCohort({ clientCount: 20, grouping, vanishes });
      assert.equal(outcome.server.phase.name, 'opened', last);
      const opened = outcome.opened.map(({ group }) => group);
      assert.deepEqual(opened, [0, 2, 3], last);
      assert.deepEqual(outcome.leftOut, [1], last);
      checkSums(outcome);
      for (const index of spared()) {
        const { phase } = outcome.clients[index]!;
        if (last === 'SHARES' || last === 'MASKED')
          assert.ok(phase.name === 'aborted' && phase.reason.code === 'below-threshold', last);
        else assert.equal(phase.name, 'unmasking', last);
      }
      const shown = outcome.sent.filter((event) => event.type === 'unmask').length;
      assert.equal(shown, last === 'SHARES' || last === 'MASKED' ? 15 : 17, last);
    }
  });

  it('[below-threshold-aborts] groups: too few survivors in all groups together, or too few consents, open nothing', () => {
    const lost = (stage: SentKind, from: number) => (index: number, kind: SentKind) =>
      index >= from && kinds.indexOf(kind) >= kinds.indexOf(stage);
    const few = runGroupedCohort({ clientCount: 20, grouping, clientCountMin: 20, vanishes: lost('MASKED', 19) });
    assert.equal(few.server.phase.name, 'aborted');
    assert.ok(few.server.phase.name === 'aborted' && /survivors/.test(few.server.phase.reason.detail));
    const silent = runGroupedCohort({ clientCount: 20, grouping, vanishes: lost('AGREE', 13) });
    assert.ok(
      silent.server.phase.name === 'aborted' && /14 consents, found 13/.test(silent.server.phase.reason.detail),
    );
    assert.equal(silent.sent.filter(({ type }) => type === 'unmask').length, 0);
    assert.deepEqual([few.opened, silent.opened], [[], []]);
  });

  it('[GRP-3] who keeps its nonce back ends the attempt and is asked no more', () => {
    const vanishes = (index: number, kind: SentKind): boolean => index === 4 && kind === 'DRAW';
    const outcome = runGroupedCohort({ clientCount: 12, grouping, vanishes });
    assert.equal(outcome.server.phase.name, 'aborted');
    assert.deepEqual(outcome.ejected, [4]);
    assert.equal(outcome.sent.filter(({ type }) => type === 'shares').length, 0);
  });
});
