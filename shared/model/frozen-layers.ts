/** The lowest layers of a base that nothing acts on: what leaves them depends on the text alone, and can be kept. */
import { assert } from '../core/assert.ts';
import type { SiteHooks, TokenBatch } from './base-model.ts';

/** How many of the lowest layers these hooks leave as they are: 0 where they act before all layers. */
export function frozenLayerCount(hooks: SiteHooks, layerCount: number): number {
  if (hooks.words !== undefined || hooks.embedding !== undefined || hooks.weight !== undefined) return 0;
  const isHooked = hooks.linear !== undefined || hooks.sublayer !== undefined || hooks.keysAndValues !== undefined;
  return isHooked ? Math.min(hooks.lowestLayerIndex ?? 0, layerCount) : layerCount;
}

/** States that are given must be those that hooks would leave as they are. @throws InvariantError */
export function requireFrozenBelow({ below }: TokenBatch, hooks: SiteHooks, layerCount: number): void {
  if (below === undefined) return;
  const isFrozen = below.layerIndex <= frozenLayerCount(hooks, layerCount) && (hooks.positionStart ?? 0) === 0;
  assert(isFrozen, `states that enter layer ${below.layerIndex} do not hold where hooks act below it`);
}
