/** A federation as a value: its settings, its phases, what happens to it and what the driver must do. Rules stand in `machine.ts`. */
import type { ClientId, Digest } from '../../shared/core/ids.ts';

/** What a plan says about rounds, in milliseconds; all counts are at least 1. */
export interface RoundSettings {
  readonly roundCount: number;
  /** Clients asked per round; null asks everybody who is there. */
  readonly cohortSize: number | null;
  readonly quorum: number;
  readonly recruitMs: number;
  readonly trainMs: number;
  readonly evaluateMs: number;
  /** Whether updates are masked: clients that trained wait for each other, and only their sum is seen. */
  readonly isMasked: boolean;
  /** Deadline of one exchange of messages of a masked round. */
  readonly maskMs: number;
  /** Evaluate after every so many published rounds and after the last one; 0 never. */
  readonly evaluateEvery: number;
  /** How long to wait for a quorum of connected clients before the federation ends as stopped. */
  readonly waitMs: number;
  /** Void rounds in a row after which the federation stops. */
  readonly voidsMax: number;
  /** Candidates in a row that the gate may refuse before the federation stops. */
  readonly refusalsMax: number;
  readonly seed: number;
  /** Round numbers that the privacy budget pays, void rounds included; absent where nothing is spent. */
  readonly budgetRounds?: number;
}

/** How a round ended. */
export interface RoundOutcome {
  readonly roundIndex: number;
  readonly kind: 'published' | 'void';
  readonly asked: number;
  readonly contributed: number;
  readonly detail: string;
}

/** A round that is under way: who was asked, who agreed, whose update is durable. Client ids are sorted. */
export interface RoundWork {
  readonly asked: readonly ClientId[];
  readonly accepted: readonly ClientId[];
  readonly declined: readonly ClientId[];
  readonly stored: readonly ClientId[];
  readonly startMs: number;
  readonly deadlineMs: number;
  readonly extended: boolean;
  /** Where each client will be finished by its own speed, milliseconds since 1970. */
  readonly expected: Readonly<Record<ClientId, number>>;
}

/** A stage of the federation; every stage holds only its own fields. */
export type Phase =
  | { readonly name: 'waiting'; readonly deadlineMs: number; readonly gathering: boolean }
  | ({ readonly name: 'recruit' } & RoundWork)
  | ({ readonly name: 'train' } & RoundWork)
  /** The sum is being made and opened; `contributors` are those who are ready. */
  | { readonly name: 'mask'; readonly asked: readonly ClientId[]; readonly contributors: readonly ClientId[] }
  | { readonly name: 'aggregate'; readonly asked: readonly ClientId[]; readonly contributors: readonly ClientId[] }
  | {
      readonly name: 'evaluate';
      readonly asked: readonly ClientId[];
      readonly contributors: readonly ClientId[];
      readonly awaited: readonly ClientId[];
      readonly deadlineMs: number;
    }
  | {
      readonly name: 'publish';
      readonly asked: readonly ClientId[];
      readonly contributors: readonly ClientId[];
      /** Whether the operator asked to stop meanwhile: what is being written is finished first. */
      readonly stopping: boolean;
    }
  | { readonly name: 'completed'; readonly detail: string }
  | { readonly name: 'stopped'; readonly detail: string };

/** A whole federation. */
export interface FederationState {
  readonly settings: RoundSettings;
  /** Number of the round in hand, or of the next one. */
  readonly roundIndex: number;
  readonly publishedCount: number;
  readonly voidsInRow: number;
  /** Candidates that the gate refused since the last version. */
  readonly refusalsInRow: number;
  /** Connected clients, sorted. */
  readonly present: readonly ClientId[];
  /** Clients that were ejected from a masked round, with the round number from which they are asked again. */
  readonly barred: Readonly<Record<ClientId, number>>;
  readonly outcomes: readonly RoundOutcome[];
  readonly phase: Phase;
}

/** What happens; `atMs` is the coordinator's time. */
export type FederationEvent = { readonly atMs: number } & (
  | {
      readonly type: 'client-left' | 'accepted' | 'update-stored' | 'client-ready' | 'evaluation-stored';
      readonly clientId: ClientId;
    }
  /** `isReleased`: an operator lets it in again, whatever it did. */
  | { readonly type: 'client-joined'; readonly clientId: ClientId; readonly isReleased?: boolean }
  | { readonly type: 'declined'; readonly clientId: ClientId; readonly reason: string }
  /** Fetching a base in `recruit`, local steps in `train`; `fraction` done in (0, 1]. */
  | { readonly type: 'progressed'; readonly clientId: ClientId; readonly fraction: number }
  | { readonly type: 'deadline-reached' | 'stop-requested' }
  | { readonly type: 'aggregated'; readonly modelHash: Digest }
  | { readonly type: 'aggregation-failed'; readonly detail: string }
  /** The masked sum is opened; it is of these. */
  | { readonly type: 'sum-opened'; readonly contributors: readonly ClientId[] }
  | { readonly type: 'attempt-failed'; readonly detail: string; readonly ejected: readonly ClientId[] }
  /** The masked evaluation is over, with or without a sum. */
  | { readonly type: 'evaluation-ended' }
  | { readonly type: 'published' }
  /** The gate does not let the candidate through. */
  | { readonly type: 'candidate-refused'; readonly detail: string }
);

/** What the driver must do. */
export type FederationEffect =
  | { readonly type: 'open-round'; readonly roundIndex: number; readonly clients: readonly ClientId[] }
  | { readonly type: 'offer'; readonly clients: readonly ClientId[] }
  | {
      readonly type: 'open-attempt';
      readonly asked: readonly ClientId[];
      readonly invited: readonly ClientId[];
    }
  | { readonly type: 'aggregate'; readonly contributors: readonly ClientId[] }
  | { readonly type: 'evaluate'; readonly clients: readonly ClientId[] }
  | {
      readonly type: 'publish';
      readonly roundIndex: number;
      readonly asked: readonly ClientId[];
      readonly contributors: readonly ClientId[];
    }
  | { readonly type: 'void-round'; readonly outcome: RoundOutcome }
  | { readonly type: 'finish'; readonly status: 'completed' | 'stopped'; readonly detail: string }
  | {
      readonly type: 'reject';
      readonly code: 'unexpected-event' | 'not-in-cohort';
      readonly detail: string;
      readonly clientId: ClientId | null;
    };

/** The next state and what to do, in order. */
export interface FederationStep {
  readonly state: FederationState;
  readonly effects: readonly FederationEffect[];
}

/** A phase in which clients fetch and train. */
export type WorkPhase = Extract<Phase, RoundWork>;

/** Longest time for which a round that could begin waits for further clients, in milliseconds. */
export const gatherMsMax = 5_000;

/** Round numbers for which a client is not asked that was ejected from a masked round. */
export const ejectionRounds = 3;

/** Clients that the round in hand, or the next one, may ask. */
export function askable({ present, barred, roundIndex }: FederationState): readonly ClientId[] {
  return present.filter((clientId) => (barred[clientId] ?? 0) <= roundIndex);
}

/** When the driver must send `deadline-reached`, or null while nothing is awaited from clients. */
export function deadlineOf(state: FederationState): number | null {
  return 'deadlineMs' in state.phase ? state.phase.deadlineMs : null;
}

/** `clients` with `clientId`, sorted. */
export function including(clients: readonly ClientId[], clientId: ClientId): readonly ClientId[] {
  return clients.includes(clientId) ? clients : [...clients, clientId].sort();
}

/** `clients` without `clientId`. */
export function without(clients: readonly ClientId[], clientId: ClientId): readonly ClientId[] {
  return clients.filter((other) => other !== clientId);
}

/** Whether the update of `clientId` is, or will be, part of the round in hand. */
export function counts({ phase }: FederationState, clientId: ClientId): boolean {
  if ('stored' in phase) return phase.stored.includes(clientId);
  return 'contributors' in phase && phase.contributors.includes(clientId);
}
