/**
 * How mixtures route, for people: by site the share of the dispatched tokens that each expert took, how even they are, what overflowed, and which experts
 * nobody used. From what a mixture observes in passes, or from the counts that the rounds of a federation add up over its clients.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { AdapterLayout } from '../update/layout.ts';

/** How the router of one site distributed tokens. */
export interface SiteRouting {
  /** Where it stands: `layers.0.feedForward`, with the path of a member in front. */
  readonly site: string;
  /** By expert: its share of the dispatches; all 0 where there was none. */
  readonly shares: readonly number[];
  /** By expert: the mean probability that the router gave it; null where only counts are known. */
  readonly probabilities: readonly number[] | null;
  /** Entropy of the shares over its largest value, log E: 1 where all experts took as much, 0 where one took all. */
  readonly evenness: number;
  /** Share of the choices that found their expert full; null where only counts are known. */
  readonly droppedShare: number | null;
  /** Experts without a token, from 0. */
  readonly unused: readonly number[];
}

const statisticName = /^(.+)\.mixture\.(uses|dropped|probability)$/;

/** Takes what hooks observe, over any number of passes. */
export interface RoutingCollector {
  /** For `AdapterContext.observe`; what is not of a mixture is left alone. */
  readonly observe: (name: string, value: Tensor) => void;
  /** By site, in the order of the first pass; empty without a mixture. */
  readonly routing: () => SiteRouting[];
}

interface Sums {
  uses: number[];
  /** Of the pass that is under way; its probabilities weigh as much as it has choices. */
  choices: number;
  dropped: number;
  weighted: number[];
}

/** Nothing observed yet. */
export function collectRouting(): RoutingCollector {
  const sites = new Map<string, Sums>();
  const sumsOf = (site: string): Sums => {
    const known = sites.get(site) ?? { uses: [], choices: 0, dropped: 0, weighted: [] };
    sites.set(site, known);
    return known;
  };
  return {
    // A mixture observes uses, overflow and probabilities of a pass in this order.
    observe: (name, value) => {
      const [, site, statistic] = statisticName.exec(name) ?? [];
      if (site === undefined) return;
      const sums = sumsOf(site);
      const values = [...value.dataSync()];
      if (statistic === 'uses') {
        sums.uses = added(sums.uses, values);
        sums.choices = total(values);
      } else if (statistic === 'dropped') {
        sums.dropped += total(values);
        sums.choices += total(values);
      } else {
        const { choices } = sums;
        if (choices > 0)
          sums.weighted = added(
            sums.weighted,
            values.map((probability) => probability * choices),
          );
      }
    },
    routing: () =>
      [...sites].map(([site, { uses, dropped, weighted }]) => {
        const choices = total(uses) + dropped;
        return {
          ...routingOf(site, uses),
          probabilities: uses.map((_, expert) => shareOf(weighted[expert] ?? 0, choices)),
          droppedShare: shareOf(dropped, choices),
        };
      }),
  };
}

/** What the counts in the values of an adapter say of the last round: of a published version, over all clients that took part. */
export function countedRouting(layout: AdapterLayout, parameters: Float32Array): SiteRouting[] {
  return layout.tensors.flatMap(({ name, offset, size, aggregationClass }) => {
    const [, site, statistic] = statisticName.exec(name) ?? [];
    if (site === undefined || statistic !== 'uses' || aggregationClass !== 'count') return [];
    const uses = [...parameters.subarray(offset, offset + size)];
    return total(uses) > 0 ? [routingOf(site, uses)] : [];
  });
}

/** One line per site; `what` says of which tokens. */
export function routingLines(routing: readonly SiteRouting[], what: string): string[] {
  if (routing.length === 0) return [];
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const width = Math.max(...routing.map(({ site }) => site.length));
  return [
    `  routing     of ${what}, by expert:`,
    ...routing.map(({ site, shares, evenness, droppedShare, unused }) => {
      const dropped = droppedShare === null ? '' : `, dropped ${percent(droppedShare)}`;
      const idle = unused.length === 0 ? '' : `, never used: ${unused.join(', ')}`;
      return `    ${site.padEnd(width)}  ${shares.map(percent).join('  ')}, evenness ${evenness.toFixed(3)}${dropped}${idle}`;
    }),
  ];
}

function routingOf(site: string, uses: readonly number[]): SiteRouting {
  const all = total(uses);
  const shares = uses.map((count) => shareOf(count, all));
  const entropy = shares.reduce((sum, share) => (share > 0 ? sum - share * Math.log(share) : sum), 0);
  return {
    site,
    shares,
    probabilities: null,
    evenness: entropy / Math.log(uses.length),
    droppedShare: null,
    unused: uses.flatMap((count, expert) => (count > 0 ? [] : [expert])),
  };
}

function added(left: readonly number[], right: readonly number[]): number[] {
  return right.map((value, index) => value + (left[index] ?? 0));
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function shareOf(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
