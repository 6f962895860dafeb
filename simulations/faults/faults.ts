/** Named faults of a world, and how often each strikes. A world draws which of them it has, so that some worlds have none and some have all. */
import type { SeededRandom } from '../../shared/core/random.ts';

/** Everything that goes wrong without anybody meaning it. */
export const faultNames = [
  'loss',
  'delay',
  'duplication',
  'reordering',
  'corruption',
  'vanished-client',
  'killed-coordinator',
  'clock-skew',
] as const;
/** Name of a fault. */
export type FaultName = (typeof faultNames)[number];

/** How likely each fault is per occasion; 0 where the world does not have it. */
export type FaultRates = Readonly<Record<FaultName, number>>;

/** No faults: a network that healed. */
export const noFaults: FaultRates = Object.freeze(
  Object.fromEntries(faultNames.map((name) => [name, 0])) as Record<FaultName, number>,
);

const largestRates: FaultRates = {
  loss: 0.3,
  delay: 0.2,
  duplication: 0.3,
  reordering: 0.3,
  corruption: 0.1,
  'vanished-client': 0.03,
  'killed-coordinator': 0.05,
  'clock-skew': 0.5,
};

/** Each fault with one chance in three, at a rate up to its largest. */
export function drawFaults(random: SeededRandom): FaultRates {
  const rates = { ...noFaults };
  for (const name of faultNames) if (random.uniform() < 1 / 3) rates[name] = random.uniform() * largestRates[name];
  return rates;
}

/** Decides where faults strike and counts them. */
export interface Faults {
  /** Whether a fault strikes now. */
  strikes(name: FaultName): boolean;
  /** Uniform in [0, 1): how hard. */
  degree(): number;
  /** From now on nothing goes wrong. */
  heal(): void;
  readonly isHealed: () => boolean;
  readonly counts: ReadonlyMap<FaultName, number>;
}

/** Faults at these rates. */
export function createFaults(rates: FaultRates, random: SeededRandom): Faults {
  const counts = new Map<FaultName, number>();
  let healed = false;
  return {
    strikes: (name) => {
      const struck = !healed && rates[name] > 0 && random.uniform() < rates[name];
      if (struck) counts.set(name, (counts.get(name) ?? 0) + 1);
      return struck;
    },
    degree: () => random.uniform(),
    heal: () => {
      healed = true;
    },
    isHealed: () => healed,
    counts,
  };
}
