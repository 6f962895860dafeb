/** What a world is made of, drawn from its seed. */
import type { SeededRandom } from '../../shared/core/random.ts';
import { drawFaults, type FaultRates, noFaults } from '../faults/faults.ts';
import { type HostileClientName, hostileClientNames } from '../faults/hostile-client.ts';
import { type HostileCoordinatorName, hostileCoordinatorNames } from '../faults/hostile-coordinator.ts';

/** The makings of a world. */
export interface Scenario {
  readonly clientCount: number;
  /** Rounds before the network heals. */
  readonly roundCount: number;
  readonly faults: FaultRates;
  /** By index of the client. */
  readonly hostileClients: ReadonlyMap<number, HostileClientName>;
  readonly coordinator: HostileCoordinatorName | null;
  /** When the operator stops a round, milliseconds after its beginning; null where nobody does. */
  readonly stopsAfterMs: number | null;
  /** Whether the world goes on until the network has healed and one more round is over. */
  readonly heals: boolean;
}

/** Half of all worlds have faults alone, a quarter hostile clients as well, a quarter a hostile coordinator. */
export function drawScenario(random: SeededRandom): Scenario {
  // Most worlds are small: what goes wrong between three clients goes wrong between many.
  const clientCount = 3 + Math.min(random.integer(4), random.integer(3));
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
  const coordinator = kind === 3 ? hostileCoordinatorNames[random.integer(hostileCoordinatorNames.length)]! : null;
  const stopsAfterMs = random.uniform() < 0.15 ? random.integer(600) : null;
  const heals = random.uniform() < 0.5;
  return { stopsAfterMs, heals, clientCount, roundCount, faults, hostileClients, coordinator };
}
