/**
 * Checks what a plan's gate did from what the coordinator signed, without any rows: every published version passes by its own numbers, and every refused
 * candidate fails by its own. Whether the numbers are true is for a replay (`replay-state.ts`), with the rows.
 */
import { errorMessage, StoreError } from '../../shared/core/errors.ts';
import type { Canary } from '../../shared/plan/canary.ts';
import { type Plan, parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import type { CanaryRecord } from '../../shared/protocol/canary-record.ts';
import { type MetricName, type Metrics, metricText } from '../../shared/training/metrics.ts';
import { canaryMeasures } from '../canary/gate.ts';
import { judgeCandidate, type Measured } from '../canary/judge.ts';
import type { CheckedVersion } from '../library/lineage.ts';
import { saidOfLatest } from '../library/measures.ts';
import { measureOf, placesOf, planOfVersion } from '../library/places.ts';

/** Something that does not hold. */
export interface Fault {
  readonly code: string;
  readonly detail: string;
}

/** Checked versions, and the plan under which each was made. */
export interface JudgedVersions {
  readonly versions: readonly CheckedVersion[];
  readonly plans: readonly Plan[];
}

/** The plan under which every version was made. @throws StoreError `changed-plan` where the text of the plan is not what versions were signed under. */
export function plansOf(text: string, versions: readonly CheckedVersion[]): Plan[] {
  try {
    const document = parsePlan(JSON.parse(text), 'the plan of the federation');
    const rows = versions.map(({ row }) => row);
    return placesOf(versions.map(({ record }) => record)).map((place, version) => {
      const plan = planOfVersion(document, place, rows);
      if (planHashOf(plan) === versions[version]!.record.planHash) return plan;
      throw new StoreError(
        'changed-plan',
        `version ${version} was signed under another plan than the one that is here`,
      );
    });
  } catch (thrown) {
    if (thrown instanceof StoreError) throw thrown;
    throw new StoreError('changed-plan', `the plan cannot be read: ${errorMessage(thrown)}`, { cause: thrown });
  }
}

/** What the coordinator signed about the candidate that became a version; null where no gate judged it. */
export function signedMeasures(
  { by, metric }: Canary,
  versions: readonly CheckedVersion[],
  { version, coordinatorKey }: { readonly version: number; readonly coordinatorKey: Uint8Array },
): Measured | null {
  const made = versions[version];
  if (made === undefined || made.record.round === null || by === 'none') return null;
  const { record } = made;
  if (by === 'operator')
    return { candidate: measureOf(record, canaryMeasures.candidate), before: measureOf(record, canaryMeasures.before) };
  const rows = versions.slice(0, version).map(({ row }) => row);
  const before = saidOfLatest(rows, coordinatorKey, ({ metrics }) => metrics?.[metric] ?? null);
  return { candidate: record.metrics?.[metric] ?? null, before };
}

/** Versions that were published though their own numbers do not pass the gate of their plan. */
export function checkPassed({ plans, versions }: JudgedVersions, coordinatorKey: Uint8Array): Fault[] {
  return plans.flatMap(({ canary }, version) => {
    const signed = signedMeasures(canary, versions, { version, coordinatorKey });
    const reason = signed === null ? null : judgeCandidate(canary, signed);
    return reason === null ? [] : [{ code: 'gate-passed', detail: `version ${version} was published, and ${reason}` }];
  });
}

/** What is wrong with the signed refusal of a candidate, or null: the plan has that gate, and the numbers fail it. */
export function judgeRefusal(record: CanaryRecord, { plans, versions }: JudgedVersions): string | null {
  const before = versions.findLast(
    ({ record: { modelHash, round } }) =>
      modelHash === record.parentModelHash && (round?.roundIndex ?? -1) < record.roundIndex,
  );
  if (before === undefined) return 'it names a version before that there is not';
  const canary = plans.find((plan) => planHashOf(plan) === record.planHash)?.canary;
  if (canary === undefined || canary.by === 'none') return 'its plan has no gate';
  const { metric, drop, least = null } = canary;
  if (metric !== record.metric || drop !== record.drop || least !== record.least) return 'its plan has another gate';
  return judgeCandidate(canary, record) === null ? 'the candidate passes by the numbers that were signed' : null;
}

/**
 * Over how many rows' worth a metric may move when the decision on one row is another: scores that are all but equal may be ordered differently by another back
 * end. In the F1 of names one row counts twice, for its own name and for the one that it is taken for (names of few rows weigh more in `macroF1`: what is
 * reported of those is for people to judge), in AUROC against the rows on either side, and in a bin of `calibrationError` with what it adds and what it takes.
 * The others change as smoothly as the scores.
 */
const rowsMoved: Readonly<Record<MetricName, 0 | 1 | 2>> = {
  accuracy: 1,
  macroF1: 2,
  microF1: 2,
  entityF1: 2,
  auroc: 2,
  calibrationError: 2,
  perplexity: 0,
  loss: 0,
  brier: 0,
};

/** How far two measurements of one adapter on the same rows may be apart, for back ends sum in other orders: a hundredth, or one row where that is more. */
function metricTolerance(name: MetricName, value: number, rowCount: number): number {
  const hundredth = 0.01 * Math.max(1, Math.abs(value));
  // Differences of shares of rows are off by roundings.
  return Math.max(hundredth, (rowsMoved[name] / Math.max(1, rowCount)) * (1 + 1e-9));
}

/** Why a measurement is not the one that was signed, or null. */
export function differenceOf(
  metric: MetricName,
  { signed, measured: metrics }: { readonly signed: number | null; readonly measured: Metrics | null },
): string | null {
  const { [metric]: measured = null, exampleCount = 0 } = metrics ?? {};
  if (signed === null && measured === null) return null;
  const isNear = (left: number, right: number): boolean =>
    Math.abs(left - right) <= metricTolerance(metric, left, exampleCount);
  if (signed !== null && measured !== null && isNear(signed, measured)) return null;
  return `signed was ${metricText(metric, signed)}, the rows give ${metricText(metric, measured)}`;
}
