/** A coordinator in a process of its own, so that a test can kill it. Says its invites and everything that happens to its parent. */
import process from 'node:process';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import type { CoordinatorProgress } from '../../coordinator/events.ts';
import { openState } from '../../coordinator/store/state.ts';
import { fixedStart } from '../client/fixed-learner.ts';
import { type Doom, doomedState } from './doom.ts';
import { dim, federationPlan } from './world.ts';

/** What the parent asks for. */
export interface Request {
  readonly rounds: object;
  readonly stateFolder: string;
  readonly port: number;
  readonly inviteCount: number;
  /** Rounds are masked, and the coordinator notes and dies as told. */
  readonly masked?: { readonly noteFile: string; readonly doom: Doom | null };
}

/** What the parent hears. */
export type Said =
  | { readonly type: 'ready'; readonly url: string; readonly invites: readonly string[] }
  | { readonly type: 'event'; readonly event: CoordinatorProgress };

const say = (said: Said): void => void process.send?.(said);

async function run({ rounds, stateFolder, port, inviteCount, masked }: Request): Promise<void> {
  const evaluation = { everyRounds: masked === undefined ? 1 : 0 };
  const coordinator = await startCoordinator({
    plan: federationPlan(rounds, evaluation, { mode: masked === undefined ? 'off' : 'on' }),
    ...fixedStart(dim),
    stateFolder,
    ...(masked === undefined ? {} : { state: doomedState(await openState(stateFolder), masked.noteFile, masked.doom) }),
    port,
    onEvent: (event) => say({ type: 'event', event }),
  });
  const invites: string[] = [];
  for (let index = 0; index < inviteCount; index++)
    invites.push(await coordinator.invite({ organisation: `site ${index + 1}` }));
  say({ type: 'ready', url: coordinator.url, invites });
}

// A failure ends the process, and with it the test that waits for it.
process.once('message', (request: Request) => void run(request));
