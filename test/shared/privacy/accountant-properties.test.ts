/** Accountants on drawn mechanisms: Rényi divergence answers no less than loss distributions, and these no less than the exact value where there is one. */
import { strict as assert } from 'node:assert';
import { type SeededRandom, seededRandom } from '../../../shared/core/random.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { epsilonText, spendingOf } from '../../../shared/plan/privacy.ts';
import { gaussianEpsilon, smallest } from '../../../shared/privacy/gaussian-accountant.ts';
import { normalCdf } from '../../../shared/privacy/normal.ts';
import { composeLosses } from '../../../shared/privacy/pld-accountant.ts';
import { epsilonOfRdp, rdpEpsilon } from '../../../shared/privacy/rdp-accountant.ts';
import { recordEpsilon } from '../../../shared/privacy/record-accounting.ts';
import { roundedSensitivity, skellamRdp, wholeOrders } from '../../../shared/privacy/skellam-accountant.ts';
import { minimalPlan } from '../plan/minimal-plan.ts';

/** Between two numbers above 0, evenly by magnitude. */
const between = (random: SeededRandom, low: number, high: number): number => low * (high / low) ** random.uniform();
const whole = (random: SeededRandom, low: number, high: number): number => Math.round(between(random, low, high));

/** ε of one step of the sampled Gaussian as it is: both ways in which neighbours differ, in closed form. */
function exactSampledEpsilon(noiseMultiplier: number, q: number, dpDelta: number): number {
  const upper = (x: number): number => normalCdf(-x / noiseMultiplier);
  const mixed = (x: number): number => (1 - q) * upper(x) + q * upper(x - 1);
  /** Where the ratio of the mixture to the normal distribution has this value. */
  const placeOf = (ratio: number): number => noiseMultiplier ** 2 * Math.log((ratio - 1 + q) / q) + 0.5;
  const dpDeltaAt = (epsilon: number): number => {
    const more = placeOf(Math.exp(epsilon));
    const added = mixed(more) - Math.exp(epsilon) * upper(more);
    if (Math.exp(-epsilon) <= 1 - q) return added;
    const less = placeOf(Math.exp(-epsilon));
    return Math.max(added, 1 - upper(less) - Math.exp(epsilon) * (1 - mixed(less)));
  };
  return dpDeltaAt(0) <= dpDelta ? 0 : smallest((epsilon) => dpDeltaAt(epsilon) <= dpDelta);
}

describe('accountants on drawn mechanisms', () => {
  it('[accountant-vectors] everybody in every step: Rényi >= loss distribution >= exact', () => {
    const random = seededRandom(57, 'everybody');
    for (let draw = 0; draw < 300; draw++) {
      const [noiseMultiplier, releaseCount] = [between(random, 0.5, 40), whole(random, 1, 200)];
      const dpDelta = between(random, 1e-9, 1e-2);
      const exact = gaussianEpsilon({ noiseMultiplier, releaseCount }, dpDelta);
      const mechanism = { noiseMultiplier, samplingRate: 1, stepCount: releaseCount };
      const said = `noise ${noiseMultiplier}, ${releaseCount} steps, delta ${dpDelta}`;
      const renyi = rdpEpsilon(mechanism, dpDelta).epsilon;
      assert.ok(renyi >= exact, `${said}: ${renyi} is below ${exact}`);
      if (draw >= 12) continue;
      const losses = composeLosses(mechanism).epsilonAt(dpDelta);
      assert.ok(renyi >= losses && losses >= exact, `${said}: ${renyi}, ${losses}, ${exact}`);
      assert.ok(losses <= exact + 1e-2 * Math.max(1, exact), `${said}: ${losses} is far above ${exact}`);
    }
  });

  it('[accountant-vectors] sampled: Rényi >= loss distribution, which of one step is no less than the exact value and close to it', () => {
    const random = seededRandom(57, 'sampled');
    for (let draw = 0; draw < 10; draw++) {
      const [noiseMultiplier, samplingRate] = [between(random, 0.6, 8), between(random, 1e-3, 0.9)];
      const dpDelta = between(random, 1e-8, 1e-3);
      const said = `noise ${noiseMultiplier}, rate ${samplingRate}, delta ${dpDelta}`;
      const exact = exactSampledEpsilon(noiseMultiplier, samplingRate, dpDelta);
      const once = composeLosses({ noiseMultiplier, samplingRate, stepCount: 1 }).epsilonAt(dpDelta);
      assert.ok(once >= exact - 1e-12 && once <= exact + 2e-3, `${said}: ${once}, exact ${exact}`);
      const often = { noiseMultiplier, samplingRate, stepCount: whole(random, 2, 60) };
      const losses = composeLosses(often).epsilonAt(dpDelta);
      for (const mechanism of [{ ...often, stepCount: 1 }, often]) {
        const renyi = rdpEpsilon(mechanism, dpDelta).epsilon;
        const other = mechanism === often ? losses : once;
        assert.ok(renyi >= other, `${said}, ${mechanism.stepCount} steps: ${renyi} is below ${other}`);
      }
      const records = { recordCount: 1000, batchSize: samplingRate * 1000, stepsPerRound: often.stepCount, dpDelta };
      assert.ok(recordEpsilon(records, noiseMultiplier, 1) >= losses * (1 - 1e-6), said);
    }
  });

  it('[accountant-vectors] what plans charge, of either noise, is no less than the exact value, and no text of it is', () => {
    const random = seededRandom(57, 'plans');
    for (let draw = 0; draw < 12; draw++)
      for (const mechanism of ['central', 'distributed'] as const) {
        const [noiseMultiplier, dpDelta] = [between(random, 0.8, 10), between(random, 1e-8, 1e-4)];
        const plan = parsePlan(
          {
            ...minimalPlan(),
            rounds: { count: 40, quorum: 60, cohortSize: 100 },
            aggregation: { weighting: 'equal' },
            secureAggregation: { mode: mechanism === 'central' ? 'off' : 'on' },
            privacy: { unit: 'client', mechanism, noiseMultiplier, dpDelta, epsilon: 1000 },
          },
          'the test',
        );
        const spending = spendingOf(plan, 2000)!;
        for (const releaseCount of [1, whole(random, 2, 40)]) {
          const charged = spending.epsilonAfter(releaseCount);
          const exact = gaussianEpsilon({ noiseMultiplier, releaseCount }, dpDelta);
          assert.ok(charged >= exact, `${mechanism}, noise ${noiseMultiplier}, ${releaseCount}: ${charged}, ${exact}`);
          assert.ok(Number(epsilonText(charged)) >= charged);
        }
      }
  });

  it('[accountant-monotone] by small steps too: what is sampled, what single records cost, and Skellam noise never cost less for more steps, more sampling, less noise or a smaller delta', () => {
    const random = seededRandom(58, 'monotone');
    interface Cost {
      readonly noise: number;
      readonly rate: number;
      readonly steps: number;
      readonly dpDelta: number;
    }
    const measures: Readonly<Record<string, (cost: Cost) => number>> = {
      sampled: ({ noise, rate, steps, dpDelta }) =>
        rdpEpsilon({ noiseMultiplier: noise, samplingRate: rate, stepCount: steps }, dpDelta).epsilon,
      records: ({ noise, rate, steps, dpDelta }) =>
        recordEpsilon({ recordCount: 1000, batchSize: rate * 1000, stepsPerRound: 1, dpDelta }, noise, steps),
      skellam: ({ noise, steps, dpDelta }) => {
        const sensitivity = roundedSensitivity(2 ** 8, 1000);
        const variance = (noise * sensitivity.l2) ** 2;
        return epsilonOfRdp((order) => steps * skellamRdp(sensitivity, variance, order), dpDelta, wholeOrders).epsilon;
      },
    };
    for (let draw = 0; draw < 5; draw++) {
      const base = {
        noise: between(random, 0.6, 8),
        rate: between(random, 1e-3, 0.9),
        steps: whole(random, 1, 300),
        dpDelta: between(random, 1e-8, 1e-3),
      };
      const near = between(random, 1.001, 1.2);
      const dearer: readonly Cost[] = [
        { ...base, steps: base.steps + 1 },
        { ...base, rate: Math.min(1, base.rate * near) },
        { ...base, rate: 1 },
        { ...base, noise: base.noise / near },
        { ...base, dpDelta: base.dpDelta / near },
      ];
      for (const [name, epsilonOf] of Object.entries(measures)) {
        const before = epsilonOf(base);
        for (const cost of dearer)
          if (name !== 'skellam' || cost.rate === base.rate)
            assert.ok(
              epsilonOf(cost) > before,
              `${name}: ${JSON.stringify(cost)} costs no more than ${JSON.stringify(base)}`,
            );
      }
    }
  });
});
