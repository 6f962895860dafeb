import { strict as assert } from 'node:assert';
import { robustRuleOf } from '../../../coordinator/aggregation/robust/robust-rules.ts';
import type { RobustRule } from '../../../coordinator/aggregation/robust/rule.ts';
import { plainMean } from '../../../coordinator/aggregation/robust/views.ts';
import { type RobustRuleName, robustDeclarationOf, robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { type AttackName, attacks, gatedAttacks } from '../../../simulations/attacks/attacks.ts';
import { accuracyUnder } from '../../../simulations/attacks/logistic-world.ts';

/** Points of accuracy that a gated attack may cost. */
const dropMax = 0.05;

const ruleOf = (robust: RobustRuleName, hostileMax: number): RobustRule => {
  const rule = robustRuleOf({
    robust,
    hostileMax,
    bucketSize: 1,
    ...(robust === 'norm-clip' ? { robustNorm: 1 } : {}),
  });
  assert.ok(rule !== null);
  return rule;
};

describe('attack-suite', () => {
  const single = { clientCount: 20, hostileCount: 4 };
  let honest: number;
  before(async () => {
    honest = await accuracyUnder({ ...single, attack: null, rule: plainMean() });
  });

  it('[ATK-1] the world can be learned, and every gated attack but the mild one breaks the mean', async () => {
    assert.ok(honest > 0.85, `accuracy ${honest}`);
    for (const attack of gatedAttacks.filter((name) => name !== 'ipm-0.5')) {
      const accuracy = await accuracyUnder({ ...single, attack, rule: plainMean() });
      assert.ok(accuracy < honest - 2 * dropMax, `${attack}: ${accuracy}`);
    }
  });

  for (const robust of robustRuleNames) {
    if (robust === 'none' || robustDeclarationOf(robust).countMin(single.hostileCount) > single.clientCount) continue;
    it(`[ATK-2/${robust}] ${robust} keeps within five points under every gated attack, 4 of 20 hostile`, async () => {
      for (const attack of gatedAttacks) {
        const accuracy = await accuracyUnder({ ...single, attack, rule: ruleOf(robust, single.hostileCount) });
        assert.ok(accuracy >= honest - dropMax, `${attack}: ${accuracy}, without attack ${honest}`);
      }
    });
  }

  for (const [robust, size] of [
    ['median', 10],
    ['trimmed-mean', 5],
  ] as const) {
    it(`[ATK-3/${robust}] ${robust} over masked groups of ${size} keeps within five points, 4 of 100 hostile`, async () => {
      const grouped = { clientCount: 100, hostileCount: 4, groups: { size, clipNorm: 2 } };
      for (const attack of gatedAttacks) {
        const accuracy = await accuracyUnder({ ...grouped, attack, rule: ruleOf(robust, 4) });
        assert.ok(accuracy >= honest - dropMax, `${attack}: ${accuracy}, without attack ${honest}`);
      }
    });
  }

  it('[ATK-4] centred clipping holds with one in ten hostile, as it declares', async () => {
    for (const attack of gatedAttacks) {
      const accuracy = await accuracyUnder({
        ...single,
        hostileCount: 2,
        attack,
        rule: ruleOf('centred-clip', 2),
      });
      assert.ok(accuracy >= honest - dropMax, `${attack}: ${accuracy}`);
    }
  });

  for (const [robust, hostileCount] of [
    ['median', 4],
    ['trimmed-mean', 4],
    ['geometric-median', 2],
  ] as const) {
    it(`[ATK-6/${robust}] ${robust} behind buckets of two keeps within five points under every gated attack, ${hostileCount} of 20 hostile`, async () => {
      const rule = robustRuleOf({ robust, hostileMax: hostileCount, bucketSize: 2 })!;
      for (const attack of gatedAttacks) {
        const accuracy = await accuracyUnder({ ...single, hostileCount, attack, rule });
        assert.ok(accuracy >= honest - dropMax, `${attack}: ${accuracy}, without attack ${honest}`);
      }
    });
  }

  it('[ATK-10] every rule answers from its own number of updates on, and one fewer ends the round: no rule becomes the mean', async () => {
    // Security specification, section 4.1: n for f hostile.
    const conditions: Readonly<Partial<Record<RobustRuleName, (f: number) => number>>> = {
      median: (f) => 2 * f + 1,
      'trimmed-mean': (f) => 2 * f + 1,
      'geometric-median': (f) => 2 * f + 1,
      'centred-clip': (f) => 10 * f,
      krum: (f) => 2 * f + 3,
      'multi-krum': (f) => 2 * f + 3,
      bulyan: (f) => 4 * f + 3,
    };
    for (const robust of robustRuleNames) {
      // A mean, clipped or not, and a rule with clean rows of its own have no such number.
      const leastOf = conditions[robust] ?? null;
      if (leastOf === null) assert.ok(['none', 'norm-clip', 'fltrust'].includes(robust), robust);
      else
        for (const hostileCount of [1, 2, 3]) {
          const play = (clientCount: number) =>
            accuracyUnder({ clientCount, hostileCount, attack: null, rule: ruleOf(robust, hostileCount) });
          const least = leastOf(hostileCount);
          assert.ok((await play(least)) > 0.5, `${robust} with ${least} for ${hostileCount}`);
          await assert.rejects(play(least - 1), { code: 'too-few-updates' }, `${robust} with ${least - 1}`);
        }
    }
  });

  const all = Object.keys(attacks) as AttackName[];
  const crude: readonly string[] = ['sign-flip-4', 'gaussian-10', 'gaussian-200', 'ipm-10', 'zero'];
  const refused: readonly string[] = ['not-a-number', 'infinite'];
  for (const robust of robustRuleNames) {
    if (robust === 'none') continue;
    it(`[ATK-7/${robust}] ${robust} under every attack of the list: crude ones cost five points at most, numbers that are none are refused`, async () => {
      const hostileCount = robustDeclarationOf(robust).countMin(4) > single.clientCount ? 2 : 4;
      for (const attack of all) {
        const play = () => accuracyUnder({ ...single, hostileCount, attack, rule: ruleOf(robust, hostileCount) });
        if (refused.includes(attack)) {
          await assert.rejects(play, { code: 'update-not-finite' }, attack);
          continue;
        }
        const accuracy = await play();
        const least = crude.includes(attack) ? honest - dropMax : 0;
        assert.ok(accuracy >= least && accuracy <= 1, `${attack}: ${accuracy}, without attack ${honest}`);
      }
    });
  }

  it('[ATK-8] Min-Max and Min-Sum reach their bound in every direction, and ALIE moves the mean as far on either side', () => {
    const honestUpdates = [Float64Array.of(0, 1), Float64Array.of(1, 0), Float64Array.of(2, 2), Float64Array.of(1, 3)];
    const input = { honest: honestUpdates, flipped: Float64Array.of(0, 0), hostileCount: 1, random: null as never };
    const between = (left: Float64Array, right: Float64Array) => Math.hypot(left[0]! - right[0]!, left[1]! - right[1]!);
    const sumFrom = (one: Float64Array) => honestUpdates.reduce((sum, other) => sum + between(one, other) ** 2, 0);
    const widest = Math.max(...honestUpdates.flatMap((one) => honestUpdates.map((other) => between(one, other))));
    for (const make of [attacks['min-max'], attacks['min-max-unit'], attacks['min-max-sign']]) {
      const [sent] = make(input);
      assert.ok(Math.abs(Math.max(...honestUpdates.map((one) => between(one, sent!))) - widest) < 1e-3);
    }
    for (const make of [attacks['min-sum'], attacks['min-sum-unit'], attacks['min-sum-sign']]) {
      const [sent] = make(input);
      assert.ok(Math.abs(sumFrom(sent!) - Math.max(...honestUpdates.map(sumFrom))) < 1e-3);
    }
    const [low, high] = [attacks.alie(input)[0]!, attacks['alie-plus'](input)[0]!];
    for (const [index, mean] of [1, 1.5].entries()) assert.ok(Math.abs((low[index]! + high[index]!) / 2 - mean) < 1e-9);
  });

  it('[ATK-5] hostile updates of Min-Max stay as close to the honest as these are to each other', () => {
    const honestUpdates = [Float64Array.of(0, 1), Float64Array.of(1, 0), Float64Array.of(2, 2)];
    const input = { honest: honestUpdates, flipped: Float64Array.of(0, 0), hostileCount: 1 };
    const [sent] = attacks['min-max']({ ...input, random: null as never });
    const reach = Math.max(...honestUpdates.map((one) => Math.hypot(one[0]! - sent![0]!, one[1]! - sent![1]!)));
    assert.ok(Math.abs(reach - Math.sqrt(5)) < 1e-3, `reach ${reach}`);
  });
});
