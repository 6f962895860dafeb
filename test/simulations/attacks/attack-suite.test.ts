import { strict as assert } from 'node:assert';
import { robustRuleOf } from '../../../coordinator/aggregation/robust/robust-rules.ts';
import type { RobustRule } from '../../../coordinator/aggregation/robust/rule.ts';
import { plainMean } from '../../../coordinator/aggregation/robust/views.ts';
import { type RobustRuleName, robustDeclarationOf, robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { attacks, gatedAttacks } from '../../../simulations/attacks/attacks.ts';
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

  it('[ATK-5] hostile updates of Min-Max stay as close to the honest as these are to each other', () => {
    const honestUpdates = [Float64Array.of(0, 1), Float64Array.of(1, 0), Float64Array.of(2, 2)];
    const input = { honest: honestUpdates, flipped: Float64Array.of(0, 0), hostileCount: 1 };
    const [sent] = attacks['min-max']({ ...input, random: null as never });
    const reach = Math.max(...honestUpdates.map((one) => Math.hypot(one[0]! - sent![0]!, one[1]! - sent![1]!)));
    assert.ok(Math.abs(reach - Math.sqrt(5)) < 1e-3, `reach ${reach}`);
  });
});
