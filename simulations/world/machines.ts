/** The machines that a world runs: those of production, unless a test hands it broken ones to see whether the checkers notice. */

import { receiveAsClient, startAttempt } from '../../shared/secure-aggregation/client-machine.ts';
import type { ClientEvent } from '../../shared/secure-aggregation/client-state.ts';
import {
  type GroupedClientEvent,
  receiveAsGroupedClient,
  startGroupedAttempt,
} from '../../shared/secure-aggregation/grouped-client.ts';
import {
  type GroupedServerEvent,
  openGroupedAttempt,
  receiveAsGroupedServer,
} from '../../shared/secure-aggregation/grouped-server.ts';
import { masksToRemove } from '../../shared/secure-aggregation/opening.ts';
import { openAttempt, receiveAsServer } from '../../shared/secure-aggregation/server-machine.ts';
import type { ServerEvent } from '../../shared/secure-aggregation/server-state.ts';
import {
  type ClientAttempt,
  type ClientAttemptEvent,
  type ClientAttemptStep,
  hasGroups,
  isGrouped,
  type ServerAttempt,
  type ServerAttemptStep,
} from '../checkers/attempts.ts';

/** Both sides of a masked round, in a complete graph and in groups, and the list of masks that opens it. */
export interface Machines {
  readonly startAttempt: typeof startAttempt;
  readonly receiveAsClient: typeof receiveAsClient;
  readonly openAttempt: typeof openAttempt;
  readonly receiveAsServer: typeof receiveAsServer;
  readonly startGroupedAttempt: typeof startGroupedAttempt;
  readonly receiveAsGroupedClient: typeof receiveAsGroupedClient;
  readonly openGroupedAttempt: typeof openGroupedAttempt;
  readonly receiveAsGroupedServer: typeof receiveAsGroupedServer;
  readonly masksToRemove: typeof masksToRemove;
}

/** What clients and coordinators run. */
export const productionMachines: Machines = {
  startAttempt,
  receiveAsClient,
  openAttempt,
  receiveAsServer,
  startGroupedAttempt,
  receiveAsGroupedClient,
  openGroupedAttempt,
  receiveAsGroupedServer,
  masksToRemove,
};

/** Hands an event to the machine that a client's attempt is of. */
export function stepClient(machines: Machines, state: ClientAttempt, event: ClientAttemptEvent): ClientAttemptStep {
  return isGrouped(state)
    ? machines.receiveAsGroupedClient(state, event as GroupedClientEvent)
    : machines.receiveAsClient(state, event as ClientEvent);
}

/** Hands an event to the machine that the coordinator's attempt is of. */
export function stepServer(machines: Machines, state: ServerAttempt, event: GroupedServerEvent): ServerAttemptStep {
  return hasGroups(state)
    ? machines.receiveAsGroupedServer(state, event)
    : machines.receiveAsServer(state, event as ServerEvent);
}
