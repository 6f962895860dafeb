/**
 * AdapterDrop (Rücklé 2021): the lowest layers go without their adapters. In inference that saves what the adapters cost, and in training
 * also the way back below the first that acts. Robust training draws how many anew in each step, so that one adapter serves with any number
 * dropped.
 */
import type { AdapterContext } from './method.ts';
import type { AdapterHooks } from './sublayer-change.ts';

/**
 * How many layers a pass drops: what the pass says, else in training a number from 0 to the configuration's `adapterDrop`, each as likely
 * (section 3.1, the robust variant).
 */
export function droppedLayers(
  configuration: object,
  { dropLowest: asked, training, random }: Pick<AdapterContext, 'dropLowest' | 'training' | 'random'>,
): number {
  if (asked !== undefined) return asked;
  const most = 'adapterDrop' in configuration ? (configuration.adapterDrop as number) : 0;
  return training && most > 0 ? random.fork('adapterDrop').integer(most + 1) : 0;
}

/** `hooks` without those of the layers below `count`. What acts before the first layer and after the last stays. */
export function dropLowest(hooks: AdapterHooks, count: number): AdapterHooks {
  if (count === 0) return hooks;
  const { linear, sublayer, change, keysAndValues, lowestLayerIndex = 0 } = hooks;
  return {
    ...hooks,
    ...(linear && { linear: (site, ...rest) => (site.layerIndex < count ? undefined : linear(site, ...rest)) }),
    ...(sublayer && { sublayer: (site, ...rest) => (site.layerIndex < count ? undefined : sublayer(site, ...rest)) }),
    ...(change && { change: (site, ...rest) => (site.layerIndex < count ? undefined : change(site, ...rest)) }),
    ...(keysAndValues && {
      keysAndValues: (site, batchSize) => (site.layerIndex < count ? undefined : keysAndValues(site, batchSize)),
    }),
    lowestLayerIndex: Math.max(lowestLayerIndex, count),
  };
}
