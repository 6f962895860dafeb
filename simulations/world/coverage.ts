/** What the worlds of a run saw together: a run that saw too little says nothing. */
import { legalClientEvents } from '../../shared/secure-aggregation/client-state.ts';
import { legalGroupedClientEvents } from '../../shared/secure-aggregation/grouped-client.ts';
import { type GroupedServerPhase, legalGroupedServerEvents } from '../../shared/secure-aggregation/grouped-server.ts';
import { legalServerEvents } from '../../shared/secure-aggregation/server-state.ts';
import { type FaultName, faultNames } from '../faults/faults.ts';
import { hostileClientNames } from '../faults/hostile-client.ts';
import { hostileCoordinatorNames } from '../faults/hostile-coordinator.ts';

/** Counts of a run. */
export interface Coverage {
  worlds: number;
  /** Pairs `phase x event` that the machines of clients and coordinator met. */
  readonly client: Set<string>;
  readonly server: Set<string>;
  /** The same of rounds with groups. */
  readonly groupedClient: Set<string>;
  readonly groupedServer: Set<string>;
  readonly faults: Map<FaultName, number>;
  readonly hostile: Set<string>;
  readonly attempts: Record<'opened' | 'aborted' | 'lost', number>;
  /** Groups of opened rounds, and groups that were left out of any. */
  readonly groups: Record<'opened' | 'leftOut', number>;
  /** Phases in which a killed coordinator came back. */
  readonly restarts: Set<GroupedServerPhase['name']>;
}

/** Nothing seen yet. */
export function createCoverage(): Coverage {
  return {
    worlds: 0,
    client: new Set(),
    server: new Set(),
    groupedClient: new Set(),
    groupedServer: new Set(),
    faults: new Map(),
    hostile: new Set(),
    attempts: { opened: 0, aborted: 0, lost: 0 },
    groups: { opened: 0, leftOut: 0 },
    restarts: new Set(),
  };
}

function missingPairs(table: Readonly<Record<string, readonly string[]>>, seen: ReadonlySet<string>): string[] {
  const events = [...new Set(Object.values(table).flat())];
  return Object.keys(table).flatMap((phase) =>
    events.map((event) => `${phase} x ${event}`).filter((pair) => !seen.has(pair)),
  );
}

/** Attempts of each end, and groups, that a run must have seen. */
export interface Least {
  readonly opened: number;
  readonly aborted: number;
  readonly groupsOpened: number;
  readonly groupsLeftOut: number;
}

/** What a run has not seen of everything that there is: a suite fails on whatever is listed. */
export function missingFrom(coverage: Coverage, least: Least): string[] {
  const { client, server, groupedClient, groupedServer, faults, hostile, attempts, groups } = coverage;
  const counts: readonly [string, number, number][] = [
    ['opened attempts', attempts.opened, least.opened],
    ['aborted attempts', attempts.aborted, least.aborted],
    ['opened groups', groups.opened, least.groupsOpened],
    ['groups that are left out', groups.leftOut, least.groupsLeftOut],
  ];
  // Nobody stays left out: the signature that leads there ends the attempt.
  const { 'left-out': _, ...grouped } = legalGroupedClientEvents;
  return [
    ...counts.flatMap(([what, found, wanted]) => (found < wanted ? [`${what}: ${found} of ${wanted}`] : [])),
    ...missingPairs(grouped, groupedClient).map((pair) => `client in groups ${pair}`),
    ...missingPairs(legalGroupedServerEvents, groupedServer).map((pair) => `coordinator of groups ${pair}`),
    ...missingPairs(legalClientEvents, client).map((pair) => `client ${pair}`),
    ...missingPairs(legalServerEvents, server).map((pair) => `coordinator ${pair}`),
    ...faultNames.filter((name) => !faults.has(name)),
    ...[...hostileClientNames, ...hostileCoordinatorNames].filter((name) => !hostile.has(name)),
  ];
}

/** Coverage as it travels between processes. */
export function encodeCoverage(coverage: Coverage) {
  const { worlds, client, server, groupedClient, groupedServer, faults, hostile, attempts, groups, restarts } =
    coverage;
  return {
    worlds,
    attempts,
    groups,
    groupedClient: [...groupedClient],
    groupedServer: [...groupedServer],
    faults: Object.fromEntries(faults) as Partial<Record<FaultName, number>>,
    client: [...client],
    server: [...server],
    hostile: [...hostile],
    restarts: [...restarts],
  };
}

/** Adds what another process saw. */
export function addCoverage(sum: Coverage, more: ReturnType<typeof encodeCoverage>): void {
  sum.worlds += more.worlds;
  for (const pair of more.client) sum.client.add(pair);
  for (const pair of more.server) sum.server.add(pair);
  for (const pair of more.groupedClient) sum.groupedClient.add(pair);
  for (const pair of more.groupedServer) sum.groupedServer.add(pair);
  for (const name of more.hostile) sum.hostile.add(name);
  for (const name of more.restarts) sum.restarts.add(name);
  for (const name of faultNames) sum.faults.set(name, (sum.faults.get(name) ?? 0) + (more.faults[name] ?? 0));
  for (const how of ['opened', 'leftOut'] as const) sum.groups[how] += more.groups[how];
  for (const how of ['opened', 'aborted', 'lost'] as const) sum.attempts[how] += more.attempts[how];
}
