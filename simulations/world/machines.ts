/** The machines that a world runs: those of production, unless a test hands it broken ones to see whether the checkers notice. */
import { receiveAsClient, startAttempt } from '../../shared/secure-aggregation/client-machine.ts';
import { masksToRemove } from '../../shared/secure-aggregation/opening.ts';
import { openAttempt, receiveAsServer } from '../../shared/secure-aggregation/server-machine.ts';

/** Both sides of a masked round, and the list of masks that opens it. */
export interface Machines {
  readonly startAttempt: typeof startAttempt;
  readonly receiveAsClient: typeof receiveAsClient;
  readonly openAttempt: typeof openAttempt;
  readonly receiveAsServer: typeof receiveAsServer;
  readonly masksToRemove: typeof masksToRemove;
}

/** What clients and coordinators run. */
export const productionMachines: Machines = {
  startAttempt,
  receiveAsClient,
  openAttempt,
  receiveAsServer,
  masksToRemove,
};
