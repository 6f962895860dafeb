import { strict as assert } from 'node:assert';
import { checkPassed, differenceOf, judgeRefusal } from '../../../coordinator/audit/verify-gate.ts';
import type { CheckedVersion } from '../../../coordinator/library/lineage.ts';
import type { Digest, FederationId } from '../../../shared/core/ids.ts';
import { parsePlan, planHashOf } from '../../../shared/plan/plan.ts';
import { testPlan } from '../harness.ts';

const digest = (digit: string): Digest => digit.repeat(64) as Digest;
const gate = { by: 'operator', file: 'rows.jsonl', digest: digest('9'), drop: 0.1 } as const;
const plan = parsePlan({ ...testPlan(), canary: gate }, 'the test');
const key = new Uint8Array(32);

/** The first version and one of round 0 that says this of itself. */
function versionsWith(measures: readonly { readonly name: string; readonly value: number }[]): CheckedVersion[] {
  const records = [
    { modelHash: digest('a'), round: null, measures: [] },
    { modelHash: digest('b'), round: { roundIndex: 0 }, measures },
  ];
  return records.map((record) => ({ row: { modelHash: record.modelHash }, record }) as never);
}

const refusal = {
  federationId: 'f'.repeat(64) as FederationId,
  ...{ roundIndex: 1, roundHash: digest('1'), planHash: planHashOf(plan), modelHash: digest('3') },
  ...{ parentModelHash: digest('b'), metric: 'accuracy', candidate: 0.5, before: 0.9, drop: 0.1, least: null },
  ...{ reason: 'worse', createdAtMs: 1 },
};

describe('audit of the gate', () => {
  const passedWith = (...measures: Parameters<typeof versionsWith>[0]) =>
    checkPassed({ versions: versionsWith(measures), plans: [plan, plan] }, key).map(({ code }) => code);

  it('[VGT-1] a version whose own signed numbers fail the gate, or that lacks them, was not let through by it', () => {
    const before = { name: 'canary-before', value: 0.9 };
    assert.deepEqual(passedWith({ name: 'canary', value: 0.85 }, before), []);
    assert.deepEqual(passedWith({ name: 'canary', value: 0.7 }, before), ['gate-passed']);
    assert.deepEqual(passedWith(before), ['gate-passed']);
    assert.deepEqual(passedWith(), ['gate-passed']);
    const open = testPlan();
    assert.deepEqual(checkPassed({ versions: versionsWith([]), plans: [open, open] }, key), []);
  });

  it('[VGT-2] a refusal holds where the plan has that gate and the signed numbers fail it, and names the version that stays', () => {
    const lineage = { versions: versionsWith([]), plans: [plan, plan] };
    assert.equal(judgeRefusal(refusal, lineage), null);
    assert.match(judgeRefusal({ ...refusal, candidate: 0.85 }, lineage) ?? '', /passes by the numbers/);
    assert.match(judgeRefusal({ ...refusal, drop: 0.2 }, lineage) ?? '', /another gate/);
    assert.match(judgeRefusal({ ...refusal, planHash: digest('7') }, lineage) ?? '', /no gate/);
    assert.match(judgeRefusal({ ...refusal, parentModelHash: digest('7') }, lineage) ?? '', /version before/);
    assert.match(judgeRefusal({ ...refusal, roundIndex: 0 }, lineage) ?? '', /version before/);
  });

  it('[VGT-3] measurements may differ by a hundredth: of one for shares, of the value beyond one for others', () => {
    assert.equal(differenceOf('accuracy', { signed: 0.9, measured: 0.905 }), null);
    assert.equal(differenceOf('perplexity', { signed: 200, measured: 201.5 }), null);
    assert.match(
      differenceOf('accuracy', { signed: 0.9, measured: 0.88 }) ?? '',
      /signed was 90\.0 %, the rows give 88/,
    );
    assert.match(differenceOf('loss', { signed: 0.5, measured: 0.52 }) ?? '', /signed was/);
    assert.match(differenceOf('loss', { signed: null, measured: 0.5 }) ?? '', /signed was –/);
    assert.equal(differenceOf('loss', { signed: null, measured: null }), null);
  });
});
