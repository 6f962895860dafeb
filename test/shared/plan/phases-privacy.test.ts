import { strict as assert } from 'node:assert';
import { plansAhead, roundNumbersOf } from '../../../shared/plan/phases.ts';
import { type Plan, parsePlan, planBytes, planHashOf } from '../../../shared/plan/plan.ts';
import { describePhasesPrivacy, distributedSettingsOf, spendingOf } from '../../../shared/plan/privacy.ts';
import { recordSpendingOf } from '../../../shared/plan/record-privacy.ts';
import { distributedTerms } from '../../../shared/privacy/distributed-noise.ts';
import { gaussianEpsilon } from '../../../shared/privacy/gaussian-accountant.ts';
import { epsilonOfRdp, stepRdp } from '../../../shared/privacy/rdp-accountant.ts';
import { sampledRate } from '../../../shared/privacy/record-sampling.ts';
import { skellamRdp, wholeOrders } from '../../../shared/privacy/skellam-accountant.ts';
import { minimalPlan } from './minimal-plan.ts';

const dpDelta = 1e-5;
const rounds = (count: number) => ({ count, quorum: 45, cohortSize: 60 });
function planWith(privacy: object, secureAggregation: object = { mode: 'on' }): Plan {
  return parsePlan(
    {
      ...minimalPlan(),
      aggregation: { weighting: 'equal' },
      secureAggregation,
      privacy: { dpDelta, ...privacy },
      rounds: rounds(6),
      phases: [
        { name: 'one' },
        { name: 'two', privacy: { clipNorm: 0.1 } },
        { name: 'three', rounds: rounds(4), privacy: { clipNorm: 5 } },
      ],
    },
    'the test',
  );
}
type Curve = (order: number) => number;
/** ε of numbers, each with the curve of its phase, in the order in which they are given. */
const composed = (curves: readonly Curve[]): number =>
  epsilonOfRdp((order) => curves.reduce((sum, curve) => sum + curve(order), 0), dpDelta, wholeOrders).epsilon;
/** Phases of eighteen numbers as they come, and as rollbacks may have it: any phase at any number. */
const histories = [
  Array.from({ length: 18 }, (_, number) => (number < 6 ? 0 : number < 13 ? 1 : 2)),
  Array.from({ length: 18 }, (_, number) => (number * 7) % 3),
  ...[0, 1, 2].map((phase) => Array.from({ length: 18 }, () => phase)),
];

describe('privacy over phases', () => {
  it('[PHV-1] what is charged by number is never below the composition of the phases that had the numbers, and close to it', () => {
    for (const ringBits of [32, 16]) {
      const document = planWith({ unit: 'client', mechanism: 'distributed', epsilon: 4 }, { mode: 'on', ringBits });
      const dims = [200, 40_000, 1_000_000];
      const phases = plansAhead(document).map((plan, index) => {
        const spending = spendingOf(plan, dims[index]!)!;
        const terms = distributedTerms(distributedSettingsOf(plan, dims[index]!, spending.noiseMultiplier))!;
        return { spending, curve: (order: number) => skellamRdp(terms.sensitivity, terms.varianceMin, order) };
      });
      for (const history of histories)
        for (const count of [1, 5, 13, 18]) {
          const truth = composed(history.slice(0, count).map((phase) => phases[phase]!.curve));
          for (const { spending } of phases) {
            const charged = spending.epsilonAfter(count);
            assert.ok(charged >= truth && charged < truth * 1.02 + 1e-3, `${ringBits} ${count}: ${charged}, ${truth}`);
          }
        }
      assert.ok(phases[0]!.spending.epsilonAfter(18) <= 4);
      assert.equal(phases[0]!.spending.roundsMax, 18);
    }
  });

  it('[PHV-2] central noise costs what the Gaussian costs, whose exact ε it is never below; a given multiplier decides the end', () => {
    const document = planWith({ unit: 'client', mechanism: 'central', epsilon: 4 }, { mode: 'off' });
    const { noiseMultiplier, epsilonAfter } = spendingOf(document, 100)!;
    for (const count of [1, 7, 18]) {
      const exact = gaussianEpsilon({ noiseMultiplier, releaseCount: count }, dpDelta);
      assert.ok(epsilonAfter(count) >= exact && epsilonAfter(count) < exact * 1.25);
    }
    const given = planWith({ unit: 'client', mechanism: 'central', epsilon: 4, noiseMultiplier: 3 }, { mode: 'off' });
    const spending = spendingOf(given, 100)!;
    assert.equal(spending.noiseMultiplier, 3);
    assert.ok(spending.epsilonAfter(spending.roundsMax) <= 4 && spending.epsilonAfter(spending.roundsMax + 1) > 4);
  });

  it('[PHV-3] records: a site sizes its noise in each phase; what it is charged covers phases with other rows and steps', () => {
    const document = planWith({ unit: 'record', epsilon: 3 }, { mode: 'off' });
    const mechanisms = [
      { recordCount: 2000, batchSize: 32, stepsPerRound: 62, dpDelta },
      { recordCount: 300, batchSize: 64, stepsPerRound: 5, dpDelta },
      { recordCount: 40, batchSize: 40, stepsPerRound: 2, dpDelta },
    ];
    const phases = mechanisms.map((mechanism) => {
      const { noiseMultiplier, epsilonAfter } = recordSpendingOf(document, mechanism)!;
      const samplingRate = sampledRate(Math.min(1, mechanism.batchSize / mechanism.recordCount));
      const curve = (order: number) => mechanism.stepsPerRound * stepRdp({ noiseMultiplier, samplingRate }, order);
      return { curve, epsilonAfter };
    });
    for (const history of histories)
      for (const count of [1, 5, 18]) {
        const truth = composed(history.slice(0, count).map((phase) => phases[phase]!.curve));
        for (const { epsilonAfter } of phases) assert.ok(epsilonAfter(count) >= truth, `${count}: ${truth}`);
      }
    assert.ok(phases[0]!.epsilonAfter(18) <= 3 && phases[0]!.epsilonAfter(19) > 3);
  });

  it("[PHV-4] a phase has its own norm, the budget is the document's, and both survive being written and read", () => {
    const document = planWith({ unit: 'client', mechanism: 'central', epsilon: 4, clipNorm: 2 }, { mode: 'off' });
    assert.deepEqual(
      plansAhead(document).map(({ privacy }) => [privacy.unit, privacy.epsilon, privacy.clipNorm]),
      [
        ['client', 4, 2],
        ['client', 4, 0.1],
        ['client', 4, 5],
      ],
    );
    const read = parsePlan(JSON.parse(new TextDecoder().decode(planBytes(document))), 'the test');
    assert.equal(planHashOf(read), planHashOf(document));
    assert.equal(roundNumbersOf(document), 18);
  });

  it('[PHV-5] a check tells every phase and all of them; without noise it says nothing', () => {
    const lines = describePhasesPrivacy(planWith({ unit: 'client', mechanism: 'distributed', epsilon: 4 }));
    assert.equal(lines.length, 5);
    const added = lines.slice(0, 3).map((line) => Number(/adds epsilon ([\d.]+)/.exec(line)![1]));
    assert.ok(Math.abs(added.reduce((sum, value) => sum + value, 0) - 4) < 0.01);
    assert.match(
      lines[3]!,
      /^in all epsilon 4 of 4 at delta 0\.00001, all that one client has, also against the coordinator; the budget pays 18/,
    );
    assert.match(lines[4]!, /fewer than 50 clients/);
    assert.match(
      describePhasesPrivacy(planWith({ unit: 'record' }, { mode: 'off' }))[3]!,
      /^in all at most epsilon .* every single record/,
    );
    assert.deepEqual(describePhasesPrivacy(planWith({ unit: 'none' })), []);
  });
});
