import { strict as assert } from 'node:assert';
import { checkPassed, differenceOf, judgeRefusal } from '../../../coordinator/audit/verify-gate.ts';
import type { CheckedVersion } from '../../../coordinator/library/lineage.ts';
import { makeInitialVersion, makeVersion } from '../../../coordinator/library/publish.ts';
import { fromHex } from '../../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../../shared/core/ids.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import { parsePlan, planHashOf } from '../../../shared/plan/plan.ts';
import { openVersionRecord } from '../../../shared/protocol/version-record.ts';
import type { MetricName, Metrics } from '../../../shared/training/metrics.ts';
import { seededEntropy, testPlan } from '../harness.ts';

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
    for (const other of [{ drop: 0.2 }, { metric: 'macroF1' }, { least: 0.2 }] as const)
      assert.match(judgeRefusal({ ...refusal, ...other }, lineage) ?? '', /another gate/, JSON.stringify(other));
    assert.match(judgeRefusal({ ...refusal, planHash: digest('7') }, lineage) ?? '', /no gate/);
    const open = parsePlan({ ...testPlan(), canary: { by: 'none', drop: 0.1 } }, 'the test');
    const without = { versions: versionsWith([]), plans: [open, open] };
    assert.match(judgeRefusal({ ...refusal, planHash: planHashOf(open) }, without) ?? '', /no gate/);
    assert.match(judgeRefusal({ ...refusal, parentModelHash: digest('7') }, lineage) ?? '', /version before/);
    assert.match(judgeRefusal({ ...refusal, roundIndex: 0 }, lineage) ?? '', /version before/);
  });

  it('[VGT-5] of a gate by clients it judges what the versions say that they counted, against the version before', () => {
    const canary = { by: 'clients', drop: 0.1, least: 0.5 } as const;
    const asked = parsePlan({ ...testPlan(), canary }, 'the test');
    const identity = identityFromSeed(seededEntropy(95).bytes(32), engineCrypto);
    const names = { planHash: planHashOf(asked), baseDigest: digest('c'), layoutHash: digest('d') };
    const record = { federationId: 'f'.repeat(64) as FederationId, ...names };
    const lineage = { identity, plan: asked, record, publishedMs: 1 };
    const faultsOf = (...accuracies: readonly (number | null)[]): string[] => {
      const rows = [makeInitialVersion(lineage, digest('e'), digest('0'))];
      for (const [roundIndex, accuracy] of accuracies.entries()) {
        const modelHash = digest(`${roundIndex + 1}`);
        const candidate = {
          modelHash,
          reference: { digest: digest('e') },
          totalWeight: 1,
          measures: [],
          ruleState: null,
        };
        const round = { roundIndex, roundHash: digest('8'), cohort: [], updates: [], rejections: new Map() };
        const others = { loss: 1, calibrationError: 0, brier: 0, macroF1: null, microF1: null, entityF1: null };
        const metrics =
          accuracy === null ? null : { exampleCount: 10, accuracy, ...others, auroc: null, perplexity: null };
        const latest = rows.at(-1)!;
        const made = { ...lineage, isCertified: false, latest, candidate: candidate as never, round, metrics };
        rows.push(makeVersion(made).version);
      }
      const versions = rows.map((row) => {
        const signed = { record: fromHex(row.record), signature: fromHex(row.signature) };
        const opened = openVersionRecord(identity.publicKey, signed);
        assert.ok(opened.ok);
        return { row, record: opened.value };
      });
      return checkPassed({ versions, plans: rows.map(() => asked) }, identity.publicKey).map(({ detail }) => detail);
    };
    assert.deepEqual(faultsOf(0.8, 0.75, 0.9), []);
    assert.match(faultsOf(0.8, 0.6).join(), /^version 2 was published, and the accuracy .* worse by more than/);
    assert.match(faultsOf(0.4).join(), /^version 1 was published, and the accuracy .* demands at least 50/);
    assert.match(faultsOf(0.8, null).join(), /^version 2 was published, and nobody could measure/);
  });

  const measured = (metric: MetricName, value: number, exampleCount = 1000): Metrics =>
    ({ exampleCount, [metric]: value }) as never;

  it('[VGT-3] measurements may differ by a hundredth: of one for shares, of the value beyond one for others', () => {
    const differs = (metric: MetricName, signed: number, value: number): string =>
      differenceOf(metric, { signed, measured: measured(metric, value) }) ?? '';
    assert.equal(differs('accuracy', 0.9, 0.905), '');
    assert.equal(differs('perplexity', 200, 201.5), '');
    assert.equal(differs('loss', 0.5, 0.505), '');
    assert.match(differs('accuracy', 0.9, 0.88), /signed was 90\.0 %, the rows give 88/);
    assert.match(differs('accuracy', 0.88, 0.9), /signed was 88\.0 %, the rows give 90/);
    assert.match(differs('perplexity', 200, 203), /signed was/);
    assert.match(differs('loss', 0.5, 0.52), /signed was/);
    const unmeasured = { signed: null, measured: measured('loss', 0.5) };
    assert.match(differenceOf('loss', unmeasured) ?? '', /signed was –/);
    assert.match(differenceOf('loss', { signed: 0.5, measured: null }) ?? '', /the rows give –/);
    assert.equal(differenceOf('loss', { signed: null, measured: null }), null);
  });

  it('[VGT-4] on few rows they may differ by one of them and by no more; what changes smoothly, by a hundredth still', () => {
    const differs = (metric: MetricName, signed: number, value: number, rowCount: number): boolean =>
      differenceOf(metric, { signed, measured: measured(metric, value, rowCount) }) !== null;
    for (const rowCount of [1, 3, 8, 10, 49, 99])
      for (let right = 0; right < rowCount; right++) {
        const [less, more, most] = [right, right + 1, right + 2].map((count) => count / rowCount);
        assert.equal(differs('accuracy', less!, more!, rowCount), false, `${right} of ${rowCount}`);
        assert.equal(differs('accuracy', more!, less!, rowCount), false, `${right} of ${rowCount}`);
        assert.equal(differs('accuracy', less!, most!, rowCount), true, `${right} of ${rowCount}`);
      }
    assert.equal(differs('accuracy', 0.5, 0.512, 1000), true);
    // Four rows of each of two labels, of which one is taken for the other.
    assert.equal(differs('macroF1', 1, (6 / 7 + 8 / 9) / 2, 8), false);
    assert.equal(differs('macroF1', 1, 0.7, 8), true);
    assert.equal(differs('loss', 0.5, 0.52, 8), true);
    assert.equal(differs('brier', 0.2, 0.22, 8), true);
  });
});
