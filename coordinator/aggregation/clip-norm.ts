/** The norm to which updates of a round are cut, where it follows them: that which the version in effect names, else the plan's own. */
import type { Plan } from '../../shared/plan/plan.ts';
import { saidOfLatest } from '../library/measures.ts';
import type { VersionRow } from '../store/store.ts';
import { clipNormMeasure } from './aggregate.ts';

/** Null where the plan's norm is fixed. `rows` are all versions, oldest first. */
export function clipNormOf(
  { privacy }: Pick<Plan, 'privacy'>,
  rows: readonly VersionRow[],
  coordinatorKey: Uint8Array,
): number | null {
  if (privacy.unit !== 'client' || privacy.adaptive === undefined) return null;
  const said = saidOfLatest(rows, coordinatorKey, ({ measures }) => {
    return measures.find(({ name }) => name === clipNormMeasure)?.value ?? null;
  });
  return said ?? privacy.clipNorm;
}
