/** What a world is made of, drawn from its seed. */
import type { SeededRandom } from '../../shared/core/random.ts';
import type { Grouping } from '../../shared/secure-aggregation/division.ts';
import { clientCountFloor, groupSizeMin } from '../../shared/secure-aggregation/threshold.ts';
import { drawFaults, type FaultRates, noFaults } from '../faults/faults.ts';
import { type HostileClientName, hostileClientNames } from '../faults/hostile-client.ts';
import { type HostileCoordinatorName, hostileCoordinatorNames, ofGroups } from '../faults/hostile-coordinator.ts';

/** The makings of a world. */
export interface Scenario {
  readonly clientCount: number;
  /** How rounds are divided; null where they are complete graphs. */
  readonly grouping: Grouping | null;
  /** Rounds before the network heals. */
  readonly roundCount: number;
  readonly faults: FaultRates;
  /** By index of the client. */
  readonly hostileClients: ReadonlyMap<number, HostileClientName>;
  readonly coordinator: HostileCoordinatorName | null;
  /** Whether the world goes on until the network has healed and one more round is over. */
  readonly heals: boolean;
}

/** Two groups, of the least size or little more. */
const groupedClients = { least: 10, spread: 3 };

/** Half of all worlds have faults alone, a quarter hostile clients as well, a quarter a hostile coordinator; rounds of one world in ten have groups. */
export function drawScenario(random: SeededRandom): Scenario {
  // Most worlds are small: what goes wrong between three clients goes wrong between many.
  const isGrouped = random.uniform() < 0.1;
  const grouping = isGrouped ? { size: groupSizeMin, clientCountMin: clientCountFloor } : null;
  const clientCount = isGrouped
    ? groupedClients.least + random.integer(groupedClients.spread)
    : 3 + Math.min(random.integer(4), random.integer(3));
  const roundCount = 1;
  const kind = random.integer(4);
  const faults = random.uniform() < 0.2 ? noFaults : drawFaults(random.fork('faults'));
  const hostileClients = new Map<number, HostileClientName>();
  if (kind === 2) {
    const count = 1 + random.integer(Math.max(1, Math.floor(clientCount / 3)));
    for (let one = 0; one < count; one++) {
      const name = hostileClientNames[random.integer(hostileClientNames.length)]!;
      hostileClients.set(random.integer(clientCount), name);
    }
  }
  const coordinators = hostileCoordinatorNames.filter((name) => isGrouped || !ofGroups.includes(name));
  const coordinator = kind === 3 ? coordinators[random.integer(coordinators.length)]! : null;
  const heals = random.uniform() < 0.5;
  return { heals, clientCount, grouping, roundCount, faults, hostileClients, coordinator };
}
