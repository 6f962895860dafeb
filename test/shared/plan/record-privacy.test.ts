/** Sites that change their records from round to round: what they are charged by number is what all their rounds cost together. */
import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { type RecordCharge, recordSpendingOf } from '../../../shared/plan/record-privacy.ts';
import { epsilonOfRdp } from '../../../shared/privacy/rdp-accountant.ts';
import { recordEpsilon, recordRdp } from '../../../shared/privacy/record-accounting.ts';
import { wholeOrders } from '../../../shared/privacy/skellam-accountant.ts';
import { minimalPlan } from './minimal-plan.ts';

const dpDelta = 1e-5;
const batchSize = 16;
const count = 8;
const planWith = (privacy: object) =>
  parsePlan(
    { ...minimalPlan(), rounds: { count, quorum: 3 }, privacy: { unit: 'record', epsilon: 6, dpDelta, ...privacy } },
    'the test',
  );
const mechanismOf = (recordCount: number, stepsPerRound = 5) => ({ recordCount, batchSize, stepsPerRound, dpDelta });

describe('privacy of changing records', () => {
  for (const given of [undefined, 1])
    it(`[RCP-1/${given === undefined ? 'sized' : 'given'}] accountant-vectors: epsilon is that of the composition of all rounds, within the budget wherever a round is trained`, () => {
      const plan = planWith(given === undefined ? {} : { noiseMultiplier: given });
      const random = seededRandom(59, 'records');
      let [trained, refused] = [0, 0];
      for (let site = 0; site < 4; site++) {
        let charges: readonly RecordCharge[] = [];
        const curves: ((order: number) => number)[] = [];
        let mechanism = mechanismOf(100);
        for (let number = 0; number < count; number++) {
          if (random.uniform() < 0.3)
            mechanism = mechanismOf(Math.round(20 * 100 ** random.uniform()), 1 + Math.floor(8 * random.uniform()));
          const spending = recordSpendingOf(plan, mechanism, charges);
          if (spending === null || spending.epsilonAfter(number + 1) > plan.privacy.epsilon) {
            refused++;
            break;
          }
          trained++;
          curves.push(recordRdp(mechanism, spending.noiseMultiplier));
          const truth = epsilonOfRdp(
            (order) => curves.reduce((sum, curve) => sum + curve(order), 0),
            dpDelta,
            wholeOrders,
          );
          const charged = spending.epsilonAfter(number + 1);
          assert.ok(Math.abs(charged - truth.epsilon) < 1e-9 * charged, `${charged}, truly ${truth.epsilon}`);
          charges = spending.chargesAfter(number + 1);
          assert.equal(
            charges.reduce((sum, { numbers }) => sum + numbers, 0),
            number + 1,
          );
        }
      }
      assert.ok(
        trained > 12 && (given === undefined ? refused === 0 : refused > 0),
        `${trained} trained, ${refused} refused`,
      );
    });

  it('[RCP-2] who keeps its records pays by the number alone, with one noise, whatever rounds it missed', () => {
    const plan = planWith({});
    const first = recordSpendingOf(plan, mechanismOf(300))!;
    const later = recordSpendingOf(plan, mechanismOf(300), first.chargesAfter(2))!;
    assert.equal(later.noiseMultiplier, first.noiseMultiplier);
    for (const numbers of [3, 7, count]) {
      const exact = recordEpsilon(mechanismOf(300), first.noiseMultiplier, numbers);
      assert.ok(Math.abs(later.epsilonAfter(numbers) - exact) < 1e-12 * exact);
      assert.deepEqual(later.chargesAfter(numbers), first.chargesAfter(numbers));
    }
    assert.ok(first.epsilonAfter(count) <= 6);
    // A masked attempt that is repeated under its number: with the same records once, with others for both.
    assert.equal(later.epsilonAfter(2), first.epsilonAfter(2));
    const others = recordSpendingOf(plan, mechanismOf(400), first.chargesAfter(2))!;
    assert.ok(others.epsilonAfter(2) > first.epsilonAfter(2));
    assert.equal(others.epsilonAfter(2), others.epsilonAfter(3));
    // More steps on as many records are another charge, and charges of one kind have one noise.
    const longer = recordSpendingOf(plan, mechanismOf(300, 9), first.chargesAfter(2))!;
    assert.deepEqual(longer.chargesAfter(3).slice(0, -1), first.chargesAfter(2));
    const [charge] = first.chargesAfter(2);
    const quieter = { ...charge!, noiseMultiplier: 2 * charge!.noiseMultiplier };
    assert.equal(recordSpendingOf(plan, mechanismOf(300), [quieter])!.noiseMultiplier, quieter.noiseMultiplier);
  });
});
