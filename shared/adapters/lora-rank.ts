/** LoRA of another rank with the same scales: what a federation publishes may hold more ranks than its clients train. */
import type { BaseDescription } from '../model/base-model.ts';
import { refusePlan } from '../update/federated-layout.ts';
import { type LoraConfiguration, loraMapsOf } from './lora.ts';

/**
 * `configuration` with `rank` ranks in every map, as far as its sides go; the scale of every map stays as it is.
 * @throws UsageError `bad-plan` when a map is trained with more.
 */
export function loraOfRank(configuration: LoraConfiguration, rank: number, base: BaseDescription): LoraConfiguration {
  const rankPattern: Record<string, number> = {};
  const alphaPattern: Record<string, number> = {};
  for (const map of loraMapsOf(configuration)) {
    const { layerIndex, target } = map.site;
    const { inSize, outSize } = base.linearTargets[target]!;
    const own = Math.max(map.rank, Math.min(rank, inSize, outSize));
    if (map.rank > rank) {
      throw refusePlan(
        'publishedRank',
        `must be at least ${map.rank}, the rank that is trained at ${map.name}, found ${rank}`,
      );
    }
    const key = `layers.${layerIndex}.${target}`;
    if (own !== rank) rankPattern[key] = own;
    alphaPattern[key] = map.scale * (configuration.rankStabilised ? Math.sqrt(own) : own);
  }
  const alphas = new Set(Object.values(alphaPattern));
  const [alpha = configuration.alpha] = alphas;
  return { ...configuration, rank, rankPattern, alpha, alphaPattern: alphas.size === 1 ? {} : alphaPattern };
}
