/**
 * What checkers ask of an attempt, in a complete graph or in groups: which event is legal, how far it has come, and the machines of complete graphs
 * that it consists of.
 */
import type {
  ClientEvent,
  ClientPhase,
  ClientState,
  SignedKind,
} from '../../shared/secure-aggregation/client-state.ts';
import { legalClientEvents } from '../../shared/secure-aggregation/client-state.ts';
import {
  type GroupedClientEffect,
  type GroupedClientEvent,
  type GroupedClientPhase,
  type GroupedClientState,
  legalGroupedClientEvents,
} from '../../shared/secure-aggregation/grouped-client.ts';
import {
  type GroupedServerEffect,
  type GroupedServerEvent,
  type GroupedServerState,
  legalGroupedServerEvents,
} from '../../shared/secure-aggregation/grouped-server.ts';
import type { Members } from '../../shared/secure-aggregation/members.ts';
import type { ServerEffect, ServerState } from '../../shared/secure-aggregation/server-state.ts';
import { legalServerEvents } from '../../shared/secure-aggregation/server-state.ts';

/** Kinds of messages that clients sign, with groups or without. */
export type SentKind = SignedKind | 'DRAW';
/** A client's side of an attempt. */
export type ClientAttempt = ClientState | GroupedClientState;
/** What happens to it. */
export type ClientAttemptEvent = ClientEvent | GroupedClientEvent;
/** What comes of that. */
export interface ClientAttemptStep {
  readonly state: ClientAttempt;
  readonly effects: readonly GroupedClientEffect[];
}
/** The coordinator's side of an attempt. */
export type ServerAttempt = ServerState | GroupedServerState;
/** What comes of an event there. */
export interface ServerAttemptStep {
  readonly state: ServerAttempt;
  readonly effects: readonly (ServerEffect | GroupedServerEffect)[];
}

/** Whether a client's attempt is in a round with groups. */
export function isGrouped(state: ClientAttempt): state is GroupedClientState {
  return 'grouping' in state.setting;
}

/** Whether the coordinator's attempt is of a round with groups. */
export function hasGroups(state: ServerAttempt): state is GroupedServerState {
  return 'grouping' in state.setting;
}

/** A phase, or the one that waits behind a signature. */
function heldBy<Phase extends ClientPhase | GroupedClientPhase>(phase: Phase) {
  return phase.name === 'signing' ? (phase.next as Exclude<Phase, { readonly name: 'signing' }>) : phase;
}

/** The machine of the complete graph that an attempt is, or has within it; null where its groups hold none any more. */
export function graphOf(state: ClientAttempt): ClientState | null {
  if (!isGrouped(state)) return state;
  const held = heldBy(state.phase);
  return 'inner' in held ? held.inner : null;
}

/** What {@link graphOf} an attempt holds, behind a signature too. */
export function standingOf(state: ClientAttempt): ClientPhase | null {
  const graph = graphOf(state);
  return graph === null ? null : heldBy(graph.phase);
}

/** The roster that a client judged, null before and when it is over. */
export function rosterOf(state: ClientAttempt): Members | null {
  const held = isGrouped(state) ? heldBy(state.phase) : heldBy(state.phase);
  if ('whole' in held) return held.whole;
  return 'members' in held ? held.members : null;
}

/** Whether an event is legal where a client stands, within its group as well. */
export function isLegalForClient(state: ClientAttempt, { type }: ClientAttemptEvent): boolean {
  const inGraph = ({ phase }: ClientState): boolean =>
    (legalClientEvents[phase.name] as readonly string[]).includes(type);
  if (!isGrouped(state)) return inGraph(state);
  const { phase } = state;
  if (!(legalGroupedClientEvents[phase.name] as readonly string[]).includes(type)) return false;
  if (type === 'abandon' || (phase.name !== 'announcing' && phase.name !== 'masking' && phase.name !== 'unmasking'))
    return true;
  const { name } = phase.inner.phase;
  return type === 'outcome' ? name === 'shared' || name === 'masked' : inGraph(phase.inner);
}

const graphRanks: Readonly<Record<Exclude<ClientPhase['name'], 'signing'>, number>> = {
  advertised: 1,
  shared: 2,
  masking: 3,
  masked: 4,
  agreed: 5,
  journaling: 6,
  unmasked: 7,
  finished: 8,
  aborted: 9,
};

function rankInGraph(phase: ClientPhase): number {
  return phase.name === 'signing' ? graphRanks[phase.next.name] - 0.5 : graphRanks[phase.name];
}

/** Where on its way a client stands; signing is a part of a step before what it leads to. */
export function rankOf(state: ClientAttempt): number {
  if (!isGrouped(state)) return rankInGraph(state.phase);
  const { phase } = state;
  switch (phase.name) {
    case 'announcing':
    case 'masking':
    case 'unmasking':
      return rankInGraph(phase.inner.phase);
    case 'signing':
      return phase.next.name === 'drawn' ? 1.2 : 4.8;
    case 'drawn':
      return 1.3;
    case 'left-out':
      return graphRanks.agreed;
    default:
      return graphRanks[phase.name];
  }
}

/** Whether an event is legal where the coordinator stands; within a group its machine decides as well. */
export function isLegalForServer(state: ServerAttempt, { type }: GroupedServerEvent): boolean {
  const legal = hasGroups(state) ? legalGroupedServerEvents[state.phase.name] : legalServerEvents[state.phase.name];
  return (legal as readonly string[]).includes(type);
}

/** The coordinator's machines of complete graphs: one, or one of every group; none where the groups are being drawn. */
export function graphsOf(state: ServerAttempt): readonly ServerState[] {
  if (!hasGroups(state)) return [state];
  const { phase } = state;
  if ('groups' in phase) return phase.groups.map(({ inner }) => inner);
  return 'inner' in phase ? [phase.inner] : [];
}
