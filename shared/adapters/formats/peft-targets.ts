/**
 * PEFT's `target_modules`: which modules of a base it means, and the shortest list that means exactly some maps. A name means every module
 * whose path is the name or ends with `.` and the name; a text is `all-linear` or a regular expression over the whole path.
 */
import { FormatError } from '../../core/errors.ts';
import type { BaseDescription, LinearSite, LinearTarget } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import { shown } from '../../plan/problems.ts';
import { type FieldRule, isTexts } from './config-fields.ts';
import { modulesOf, pathOf, wholeTargetsOf } from './module-paths.ts';
import { nameExpression } from './name-patterns.ts';
import type { PeftReading } from './peft-method.ts';

/** A block's map with its path within the model that was adapted. */
export interface Module {
  readonly site: LinearSite;
  /** `bert.encoder.layer.0.attention.self.query`; without `bert.` in a bare model. */
  readonly path: string;
}

/** Every block's maps. `isBare` says that the bare model was adapted, which has no prefix. */
export function modulesIn(base: BaseDescription, isBare: boolean): Module[] {
  const prefix = isBare ? '' : `${modulesOf(base).model}.`;
  return Array.from({ length: base.layerCount }, (_, layerIndex) =>
    wholeTargetsOf(base).map((target) => ({
      site: { layerIndex, target },
      path: prefix + pathOf(base, { layerIndex, target }),
    })),
  ).flat();
}

/** Whether PEFT's name means a path. */
function namesPath(name: string, path: string): boolean {
  return path === name || path.endsWith(`.${name}`);
}

/** Whether a key of `rank_pattern` or `alpha_pattern`, which is a regular expression for the end of a path, means it. */
export function patternMeans(key: string, path: string, source: string): boolean {
  return nameExpression(`^(?:.*\\.)?(?:${key})$`, key, source).test(path);
}

/** The modules that `target_modules` means, without those of `exclude_modules` and of layers that `layers_to_transform` leaves out. */
function selectModules(
  modules: readonly Module[],
  {
    target_modules: targets,
    exclude_modules: excluded,
    layers_to_transform: layers,
  }: {
    readonly target_modules: string | readonly string[];
    readonly exclude_modules?: string | readonly string[] | null;
    readonly layers_to_transform?: readonly number[] | null;
  },
  source: string,
): Module[] {
  const means = (names: string | readonly string[], path: string): boolean =>
    typeof names === 'string'
      ? names === 'all-linear' || nameExpression(`^(?:${names})$`, names, source).test(path)
      : names.some((name) => namesPath(name, path));
  return modules.filter(
    ({ path, site }) =>
      means(targets, path) &&
      !(excluded !== undefined && excluded !== null && means(excluded, path)) &&
      (layers === undefined || layers === null || layers.includes(site.layerIndex)),
  );
}

/** What `target_modules` may be. */
export const targetNames: FieldRule = {
  expected: 'a list of module names, a regular expression or "all-linear"',
  holds: (value) => isTexts(value) || (typeof value === 'string' && value !== ''),
};

/** The same, or null. */
export const targetNamesOrNull: FieldRule = {
  expected: `${targetNames.expected}, or null`,
  holds: (value) => value === null || targetNames.holds(value),
};

/**
 * The maps that a configuration means, as targets in layers.
 * @throws FormatError `unsupported-adapter` where they are none, or not the same in every layer.
 */
export function regularSelection(
  configuration: Configuration,
  { base, modules, source }: PeftReading,
): { readonly targets: LinearTarget[]; readonly layers: number[]; readonly selected: readonly Module[] } {
  if (configuration.target_modules === undefined)
    throw new FormatError(
      'unsupported-adapter',
      `${source}: target_modules must be ${targetNames.expected}, found nothing`,
    );
  const selected = selectModules(modules, configuration as unknown as Parameters<typeof selectModules>[1], source);
  const targets = [...new Set(selected.map(({ site }) => site.target))];
  const layers = [...new Set(selected.map(({ site }) => site.layerIndex))];
  if (selected.length === 0 || selected.length < targets.length * layers.length) {
    const found = `${shown(configuration.target_modules)}, which means ${selected.length}`;
    throw new FormatError(
      'unsupported-adapter',
      `${source}: target_modules must mean the same maps in every layer that it means, and at least one of this ${base.family}, found ${found}`,
    );
  }
  return { targets, layers, selected };
}

/**
 * Names that mean the chosen targets in every block and no other linear map of the model: the end of a path that is as short as it can be
 * for each, which may be common to several (`output.dense`); a path with its layer where every end means more.
 */
export function namesOfTargets(
  base: BaseDescription,
  isChosen: (site: LinearSite) => boolean,
  layers: readonly number[],
): string[] {
  const modules = modulesIn(base, false);
  const others = [
    ...modules.filter(({ site }) => layers.includes(site.layerIndex) && !isChosen(site)).map(({ path }) => path),
    ...modulesOf(base).otherLinears,
  ];
  const names = new Set<string>();
  for (const { site, path } of modules) {
    if (!isChosen(site)) continue;
    const parts = path.split('.');
    const ends = parts.map((_, index) => parts.slice(parts.length - 1 - index).join('.'));
    names.add(ends.find((end) => !others.some((other) => namesPath(end, other))) ?? path);
  }
  return [...names].sort();
}
