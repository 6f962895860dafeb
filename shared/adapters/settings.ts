/** What the configurations of all methods share: checking against a schema, and the choice of layers. */
import * as z from 'zod/mini';
import type { BaseDescription } from '../model/base-model.ts';
import { wholeField } from '../plan/fields.ts';
import type { Problem } from '../plan/problems.ts';
import { describeProblems, shown, throwProblems } from '../plan/problems.ts';

/** Layers of one base: far beyond any published transformer; keeps a schema from accepting nonsense before the base is known. */
const layersMax = 10_000;
const layerIndex = wholeField(0, layersMax - 1);
const layerListError = 'a list of layer indices, counted from 0';

/** Fields `layers` (`all`, or the indices of those that get an adapter) and `leaveOut` (those that get none). */
export const layerFields = {
  layers: z._default(
    z.union([z.literal('all'), z.array(layerIndex, { error: layerListError })], { error: `all, or ${layerListError}` }),
    'all',
  ),
  leaveOut: z._default(z.array(layerIndex, { error: layerListError }), []),
};

/** Throws what is wrong with the settings of `method`, one line per fault. @throws UsageError `bad-adapter` */
export function refuseSettings(method: string, problems: readonly Problem[]): never {
  throwProblems('bad-adapter', 'the configuration', `adapter ${method}`, problems);
}

/** `value` with defaults, as `schema` has it. @throws UsageError `bad-adapter` with one line per fault: field, what is allowed, what was found. */
export function parseSettings<Schema extends z.ZodMiniType>(
  method: string,
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) refuseSettings(method, describeProblems(parsed.error.issues, value));
  return parsed.data;
}

/**
 * The layers that get an adapter, ascending: `layers` without `leaveOut`. Appends to `problems` what the base does not have, and a choice
 * of no layer.
 */
export function selectLayers(
  { layers, leaveOut }: { readonly layers: 'all' | readonly number[]; readonly leaveOut: readonly number[] },
  { layerCount, family }: BaseDescription,
  problems: Problem[],
): number[] {
  const refuseUnknown = (field: string, indices: readonly number[]) => {
    for (const [place, index] of indices.entries()) {
      if (index < layerCount) continue;
      const sentence = `must be at most ${layerCount - 1}, the last layer of this ${family}, found ${index}`;
      problems.push({ path: `${field}[${place}]`, sentence });
    }
  };
  if (layers !== 'all') refuseUnknown('layers', layers);
  refuseUnknown('leaveOut', leaveOut);
  const every = Array.from({ length: layerCount }, (_, index) => index);
  const chosen = every.filter((index) => (layers === 'all' || layers.includes(index)) && !leaveOut.includes(index));
  if (chosen.length === 0 && problems.length === 0) {
    const sentence = `must leave at least one of the layers 0 to ${layerCount - 1} in, found ${shown(layers)} without ${shown(leaveOut)}`;
    problems.push({ path: 'layers', sentence });
  }
  return chosen;
}
