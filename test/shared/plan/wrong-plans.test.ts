/** Plans as people get them wrong: every fault names the field, what is allowed, what was found, and where it is not obvious what to do. */
import { strict as assert } from 'node:assert';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { minimalPlan } from './minimal-plan.ts';

const off = { secureAggregation: { mode: 'off' } };
const equal = { weighting: 'equal' };
const task = (changes: object) => ({ task: { labels: ['a', 'b'], pooling: 'first', ...changes } });
const aggregation = (changes: object, more: object = off) => ({ aggregation: { ...equal, ...changes }, ...more });
const client = (changes: object) => ({ ...aggregation({}), privacy: { unit: 'client', ...changes } });

/** What is wrong, and the one sentence that the plan is refused with. */
const wrong: readonly (readonly [object, RegExp])[] = [
  [{ format: undefined }, /^format must be tributary-plan-1, found nothing$/],
  [{ name: 7 }, /^name must be text of 1 to 200 characters, found 7$/],
  [{ base: { digest: 'abc' } }, /^base\.digest must be a digest of 64 .*plan check --base.*, found "abc"$/],
  [{ base: undefined }, /^base must be a section with the fields digest, found nothing$/],
  [{ task: undefined }, /^task must be a section with the field kind and the fields of that kind, found nothing$/],
  [task({ kind: 'clasification' }), /^task\.kind must be one of .*did you mean classification\?\), found "clasif/],
  [task({ labels: ['a'] }), /^task\.labels must be a list of 2 to 16384 different labels, found \["a"\]$/],
  [task({ labels: ['a', 'a'] }), /^task\.labels\[1\] must differ from all labels before it, found "a" twice$/],
  [task({ pooling: undefined }), /^task\.pooling must be one of first, last, mean, found nothing$/],
  [task({ classWeights: [1] }), /^task\.classWeights must have one number for each of the 2 labels, found 1$/],
  [{ adapter: 'lora' }, /^adapter must be a section with the field method and .*, found "lora"$/],
  [{ adapter: { rank: 4 } }, /^adapter\.method must be the name of an adapter method, such as lora.*found nothing$/],
  [{ training: { learningRate: '0.1' } }, /^training\.learningRate must be a number above 0 .*, found "0\.1"$/],
  [{ training: { learningrate: 1 } }, /^training\.learningrate is not a known field; did you mean learningRate\?/],
  [
    { training: { localEpochs: 1, localSteps: 2 } },
    /^training must have one of .*, found both; leave one of them out$/,
  ],
  [{ training: null }, /^training must be a section with the fields .*, found null$/],
  [{ rounds: { count: 0, quorum: 3 } }, /^rounds\.count must be a whole number from 1 to 100000, found 0$/],
  [
    { rounds: { count: 1, quorum: 5, cohortSize: 3 } },
    /^rounds\.quorum must be at most rounds\.cohortSize, .*found 5$/,
  ],
  [{ rounds: { count: 1, quorum: 3, cohortSize: 'some' } }, /^rounds\.cohortSize must be all, or a .*, found "some"$/],
  [{ phase: [] }, /^phase is not a known field; did you mean phases\?/],
  [{ secureAgregation: {} }, /^secureAgregation is not a known field; did you mean secureAggregation\?/],
  [{ secureAggregation: { mode: true } }, /^secureAggregation\.mode must be one of auto, on, off, found true$/],
  [{ secureAggregation: { ringBits: 24 } }, /^secureAggregation\.ringBits must be 16 or 32, found 24$/],
  [{ secureAggregation: { groupSize: 10 } }, /^secureAggregation\.groupSize must be left out .*; set .*mode to on/],
  [aggregation({ rule: 'fedAvgg' }), /^aggregation\.rule must be one of .*did you mean fedavg\?\), found "fedAvgg"$/],
  [
    aggregation({ robust: 'trimmedMean' }),
    /^aggregation\.robust must be .*mean trimmed-mean\?\), found "trimmedMean"$/,
  ],
  [
    aggregation({ momentum: 0.5 }),
    /^aggregation\.momentum must be left out .*fedavg, .*found 0\.5; set .*fedavgm for it$/,
  ],
  [
    aggregation({ robust: 'norm-clip' }),
    /^aggregation\.robustNorm must be given with the rule norm-clip, found nothing/,
  ],
  [aggregation({ robustNorm: 3 }), /^aggregation\.robustNorm must be left out .*norm-clip, or .*clipNorm.*, found 3$/],
  [aggregation({ bucketSize: 3 }), /^aggregation\.bucketSize must be left out without a robust rule; set .*, found 3$/],
  [
    aggregation({ robust: 'krum' }, { ...off, rounds: { count: 1, quorum: 3, cohortSize: 4 } }),
    /^rounds\.cohortSize must be at least 5, found 4: .*krum needs so many updates \(n >= 2f \+ 3\); or make hostileMax/,
  ],
  [
    aggregation({ robust: 'median', bucketSize: 2 }, { ...off, rounds: { count: 1, quorum: 3, cohortSize: 5 } }),
    /^rounds\.cohortSize must be at least 6, found 5: .*buckets of 2/,
  ],
  [
    { privacy: { epsilon: 3 } },
    /^privacy\.unit must be given, client or record, .*without it epsilon would protect nobody/,
  ],
  [
    { privacy: { clipNorm: 1 } },
    /^privacy\.unit must be given, .*found nothing: without it clipNorm would protect nobody/,
  ],
  [{ privacy: { unit: 'clients' } }, /^privacy\.unit must be one of .*did you mean client\?\), found "clients"$/],
  [
    { privacy: { unit: 'record', mechanism: 'distributed' } },
    /^privacy\.mechanism must be left out with unit record, found distributed: every site adds its own noise/,
  ],
  [
    client({ epsilon: 1, noiseMultiplier: 0.1 }),
    /^privacy\.noiseMultiplier must be larger, found 0\.1: the first round alone costs epsilon \d+(\.\d+)? of 1; left out/,
  ],
  [client({ epsilon: 1e-8 }), /^privacy\.epsilon must be larger, found 1e-8: no noise is enough for 3 rounds .*fewer/],
  [{ canary: { by: 'clients' } }, /^canary\.least must be given with canary\.by clients, found nothing: /],
  [{ canary: { least: 0.5 } }, /^canary\.least must be left out without a gate, found 0\.5: set canary\.by/],
  [
    { rounds: { count: 1, quorum: 3 }, quarantine: { lengthFactor: 3 } },
    /^quarantine\.lengthFactor must be left out with masked rounds, .*found 3; secureAggregation\.clipNorm bounds it$/,
  ],
  [{ audit: { retainUpdates: 'yes' } }, /^audit\.retainUpdates must be true or false, found "yes"$/],
];

describe('wrong plans', () => {
  for (const [changes, sentence] of wrong)
    it(`[PLW-1/${JSON.stringify(changes)}] is refused with one sentence that says what to do`, () => {
      const plan = Object.fromEntries(
        Object.entries({ ...minimalPlan(), ...changes }).filter(([, value]) => value !== undefined),
      );
      assert.throws(
        () => parsePlan(plan, 'plan.yaml'),
        ({ code, message }: { readonly code: string; readonly message: string }) => {
          assert.equal(code, 'bad-plan');
          assert.ok(message.startsWith('plan.yaml: '), message);
          assert.match(message.slice('plan.yaml: '.length), sentence);
          assert.ok(!message.includes('\n'), message);
          return true;
        },
      );
    });

  it('[PLW-2] what no rule reads may be written as it is by default, so that a plan with all its defaults is the same plan', () => {
    const plan = parsePlan(minimalPlan(), 'plan.yaml');
    assert.deepEqual(parsePlan(JSON.parse(JSON.stringify(plan)), 'plan.yaml'), plan);
  });
});
