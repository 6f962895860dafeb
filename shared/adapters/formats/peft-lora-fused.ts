/**
 * LoRA of parts of a fused query, key and value map as LoRA of the whole, which is what PEFT adapts: A of all parts one below the other, B block by
 * block with zeros elsewhere. The same map at the sum of the ranks, exact where all parts have one scale, else but for rounding of B.
 */
import type { BaseDescription, LinearTarget } from '../../model/base-model.ts';
import { type LoraConfiguration, type LoraMap, loraMapsOf } from '../lora.ts';
import { parseAdapter } from '../registry.ts';
import type { FilledAdapter } from './peft-method.ts';

const parts: readonly LinearTarget[] = ['q', 'k', 'v'];

/** `filled` with its parts of a fused map as one; itself where it has none. */
export function joinParts(
  { adapter, values }: FilledAdapter,
  configuration: LoraConfiguration,
  base: BaseDescription,
): FilledAdapter {
  const fused = base.linearTargets.qkv;
  const maps = loraMapsOf(configuration);
  const isPart = ({ site }: LoraMap) => fused !== undefined && parts.includes(site.target);
  if (fused === undefined || !maps.some(isPart)) return { adapter, values };
  const joined = new Map(values);
  const rankPattern: Record<string, number> = {};
  const alphaPattern: Record<string, number> = {};
  const set = (layer: number, target: LinearTarget, rank: number, alpha: number): void => {
    rankPattern[`layers.${layer}.${target}`] = rank;
    alphaPattern[`layers.${layer}.${target}`] = alpha;
  };
  for (const { site, rank, alpha } of maps.filter((map) => !isPart(map)))
    set(site.layerIndex, site.target, rank, alpha);
  for (const layer of configuration.layers) {
    const own = maps.filter((map) => map.site.layerIndex === layer && isPart(map));
    const rank = own.reduce((sum, map) => sum + map.rank, 0);
    const { scale } = own[0]!;
    set(layer, 'qkv', rank, scale * (configuration.rankStabilised ? Math.sqrt(rank) : rank));
    const a = new Float32Array(rank * fused.inSize);
    const b = new Float32Array(fused.outSize * rank);
    const magnitude = new Float32Array(fused.outSize);
    let column = 0;
    for (const map of own) {
      const size = base.linearTargets[map.site.target]!.outSize;
      const start = startOf(map.site.target, base);
      a.set(values.get(`${map.name}.a`)!, column * fused.inSize);
      const factor = values.get(`${map.name}.b`)!;
      for (let row = 0; row < size; row++) {
        for (let index = 0; index < map.rank; index++)
          b[(start + row) * rank + column + index] = (factor[row * map.rank + index]! * map.scale) / scale;
      }
      magnitude.set(values.get(`${map.name}.magnitude`) ?? [], start);
      column += map.rank;
      for (const part of ['a', 'b', 'magnitude']) joined.delete(`${map.name}.${part}`);
    }
    joined.set(`layers.${layer}.qkv.lora.a`, a);
    joined.set(`layers.${layer}.qkv.lora.b`, b);
    if (adapter.method === 'dora') joined.set(`layers.${layer}.qkv.lora.magnitude`, magnitude);
  }
  const others = configuration.targets.filter((target) => !parts.includes(target));
  const [first] = configuration.layers;
  const settings = {
    ...configuration,
    method: adapter.method,
    targets: ['qkv', ...others],
    rank: rankPattern[`layers.${first}.qkv`],
    alpha: alphaPattern[`layers.${first}.qkv`],
    rankPattern,
    alphaPattern,
  };
  return { adapter: parseAdapter(settings, base), values: joined };
}

/** The first output of a part within the fused map. */
function startOf(target: LinearTarget, { linearTargets }: BaseDescription): number {
  const before = parts.slice(0, parts.indexOf(target));
  return before.reduce((sum, part) => sum + linearTargets[part]!.outSize, 0);
}
