/** The federation's machines that a world runs: those of production, unless a test hands it broken ones. */
import { receive as receiveSession, startSession } from '../../client/session/machine.ts';
import { receive as receiveFederation, startFederation } from '../../coordinator/rounds/machine.ts';

/** Both sides of a federation. */
export interface FederationMachines {
  readonly startSession: typeof startSession;
  readonly receiveSession: typeof receiveSession;
  readonly startFederation: typeof startFederation;
  readonly receiveFederation: typeof receiveFederation;
}

/** What clients and coordinators run. */
export const federationMachines: FederationMachines = {
  startSession,
  receiveSession,
  startFederation,
  receiveFederation,
};
