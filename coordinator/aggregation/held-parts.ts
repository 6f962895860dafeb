/**
 * Parts that a plan's schedule freezes through a whole round stay as they were published, whatever arrives for them and whatever momentum the
 * server's optimiser has: what a round may change stands in the signed plan, and nobody can move more, also behind masks.
 */
import type { Plan } from '../../shared/plan/plan.ts';
import { freezeScheduleOf, frozenThroughout } from '../../shared/training/freeze-schedule.ts';
import type { AdapterLayout } from '../../shared/update/layout.ts';

/** Puts the values of `start` back into `next`, both in the order of `layout`, where the round may not change them. Mutates `next`. */
export function holdFrozenParts(
  next: Float32Array,
  start: Float32Array,
  { plan, layout, roundIndex }: { readonly plan: Plan; readonly layout: AdapterLayout; readonly roundIndex: number },
): void {
  const schedule = freezeScheduleOf(layout, plan.training);
  if (schedule === null) return;
  const { count } = plan.rounds;
  // As clients have it: rounds beyond the schedule go on at its end.
  const place = Math.min(roundIndex, count - 1);
  const held = frozenThroughout(schedule, { from: place / count, until: (place + 1) / count });
  for (const [index, { offset, size }] of layout.tensors.entries())
    if (held[index]) next.set(start.subarray(offset, offset + size), offset);
}
