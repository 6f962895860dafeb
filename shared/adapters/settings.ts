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

/**
 * Which layers get an adapter: `layers` (`all`, or their indices), `leaveOut` (those that get none), or `topLayers` (how many, counted from
 * the last). `adapterDrop` n leaves out the adapters of the lowest 0 to n layers in each training step (Rücklé 2021, robust AdapterDrop).
 */
export const layerFields = {
  layers: z._default(
    z.union([z.literal('all'), z.array(layerIndex, { error: layerListError })], { error: `all, or ${layerListError}` }),
    'all',
  ),
  leaveOut: z._default(z.array(layerIndex, { error: layerListError }), []),
  topLayers: z.optional(wholeField(1, layersMax)),
  adapterDrop: z.optional(wholeField(1, layersMax)),
};

/** What of {@link layerFields} a configuration keeps, after {@link chooseLayers}. */
export interface LayerChoice {
  /** Layers with an adapter, ascending. In a plan also `all` (default), with `leaveOut` for those without, or `topLayers` in its place. */
  readonly layers: readonly number[];
  /** In each training step the adapters of the lowest n layers are left out, n uniform from 0 to this. Absent means none. */
  readonly adapterDrop?: number;
}

/** Settings as a schema with {@link layerFields} gives them. */
export interface LayerSettings {
  readonly layers: 'all' | readonly number[];
  readonly leaveOut: readonly number[];
  readonly topLayers?: number | undefined;
  readonly adapterDrop?: number | undefined;
}

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

/** Splits settings into the choice of layers, made on `base`, and the others. Appends to `problems` as {@link selectLayers} does. */
export function chooseLayers<Settings extends LayerSettings>(
  { layers, leaveOut, topLayers, adapterDrop, ...others }: Settings,
  base: BaseDescription,
  problems: Problem[],
): { readonly chosen: LayerChoice; readonly others: Omit<Settings, keyof LayerSettings> } {
  const selected = selectLayers({ layers, leaveOut, topLayers }, base, problems);
  const last = selected.at(-1);
  if (adapterDrop !== undefined && last !== undefined && adapterDrop > last) {
    const sentence = `must be at most ${last}, so that the last layer with an adapter keeps it, found ${adapterDrop}`;
    problems.push({ path: 'adapterDrop', sentence });
  }
  return { chosen: { layers: selected, ...(adapterDrop === undefined ? {} : { adapterDrop }) }, others };
}

/**
 * The layers that get an adapter, ascending: `layers`, or the `topLayers` last ones, without `leaveOut`. Appends to `problems` what the
 * base does not have, and a choice of no layer.
 */
function selectLayers(
  { layers, leaveOut, topLayers }: Omit<LayerSettings, 'adapterDrop'>,
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
  if (topLayers !== undefined && layers !== 'all') {
    const sentence = 'must not stand beside layers, which says the same; found both';
    problems.push({ path: 'topLayers', sentence });
  } else if (topLayers !== undefined && topLayers > layerCount) {
    const sentence = `must be at most ${layerCount}, the layers of this ${family}, found ${topLayers}`;
    problems.push({ path: 'topLayers', sentence });
  }
  const every = Array.from({ length: layerCount }, (_, index) => index).slice(-(topLayers ?? layerCount));
  const chosen = every.filter((index) => (layers === 'all' || layers.includes(index)) && !leaveOut.includes(index));
  if (chosen.length === 0 && problems.length === 0) {
    const sentence = `must leave at least one of the layers 0 to ${layerCount - 1} in, found ${shown(layers)} without ${shown(leaveOut)}`;
    problems.push({ path: 'layers', sentence });
  }
  return chosen;
}
