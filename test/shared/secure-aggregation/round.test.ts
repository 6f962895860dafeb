import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { thresholdsOf } from '../../../shared/secure-aggregation/threshold.ts';
import { type CohortOutcome, plainSum, runCohort, type Stage } from './cohort.ts';

const dim = 21;
const stages: readonly (Stage | null)[] = ['ADVERT', 'SHARES', 'MASKED', 'AGREE', 'UNMASK', null];

/** What must come of a cohort whose clients vanish before these messages. */
function expectedOf(vanishing: readonly (Stage | null)[]): { readonly survivors: number[] | null } {
  const reach = (stage: Stage) =>
    vanishing.flatMap((before, index) =>
      before === null || stages.indexOf(before) > stages.indexOf(stage) ? [index] : [],
    );
  const roster = reach('ADVERT');
  if (roster.length < 3) return { survivors: null };
  const { shares } = thresholdsOf(roster.length, 'active');
  const least = Math.max(3, shares);
  const isEnough = (['SHARES', 'MASKED', 'AGREE', 'UNMASK'] as const).every((stage) => reach(stage).length >= least);
  return { survivors: isEnough ? reach('MASKED') : null };
}

function checkOutcome(outcome: CohortOutcome, vanishing: readonly (Stage | null)[]): void {
  const { survivors } = expectedOf(vanishing);
  const told = `vanishing before ${vanishing.join(', ')}`;
  assert.deepEqual(outcome.rejected, [], told);
  if (survivors === null) {
    assert.equal(outcome.server.phase.name, 'aborted', told);
    assert.equal(outcome.sum, null, told);
    return;
  }
  assert.deepEqual(outcome.survivors, survivors, told);
  assert.deepEqual(outcome.sum, plainSum(survivors, dim), told);
}

describe('masked round', () => {
  it('[SEC-1] with everybody there the opened sum is the plain sum', () => {
    for (const clientCount of [3, 4, 5, 7, 12]) {
      const outcome = runCohort({ clientCount });
      assert.deepEqual(outcome.sum, plainSum([...Array(clientCount).keys()], dim));
      assert.ok(outcome.clients.every(({ state }) => state.phase.name === 'unmasked'));
    }
  });

  it('[masks-cancel-any-dropout] three clients: every way to vanish', () => {
    for (const first of stages)
      for (const second of stages)
        for (const third of stages) {
          const vanishing = [first, second, third];
          checkOutcome(runCohort({ clientCount: 3, vanishing: mapOf(vanishing) }), vanishing);
        }
  });

  it('[masks-cancel-any-dropout] four to twelve clients: seeded ways to vanish; many are opened and many are not', () => {
    const random = seededRandom(1, 'vanishing');
    let [opened, closed] = [0, 0];
    for (let run = 0; run < 40; run++) {
      const clientCount = 4 + random.integer(9);
      const vanishing = Array.from({ length: clientCount }, () =>
        random.integer(clientCount) < 3 ? stages[random.integer(6)]! : null,
      );
      const outcome = runCohort({ clientCount, seed: run + 2, vanishing: mapOf(vanishing) });
      checkOutcome(outcome, vanishing);
      if (outcome.sum === null) closed++;
      else opened++;
    }
    assert.ok(opened > 12 && closed > 5, `${opened} opened, ${closed} closed`);
  });

  it('[SEC-2] the semi-honest profile opens with half of the shares', () => {
    const vanishing = new Map<number, Stage>([0, 1, 2, 3].map((index) => [index, 'AGREE'] as const));
    assert.equal(runCohort({ clientCount: 10, vanishing }).sum, null);
    const outcome = runCohort({ clientCount: 10, vanishing, profile: 'semi-honest' });
    assert.deepEqual(outcome.sum, plainSum([...Array(10).keys()], dim));
  });
});

function mapOf(vanishing: readonly (Stage | null)[]): ReadonlyMap<number, Stage> {
  return new Map(vanishing.flatMap((stage, index) => (stage === null ? [] : [[index, stage] as const])));
}
