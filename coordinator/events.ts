/** What a coordinator tells whoever runs it: for progress lines, logs and tests. Never a delta, token, key or data row. */
import type { ClientId, Digest } from '../shared/core/ids.ts';
import type { ViolationCode } from '../shared/protocol/violations.ts';
import type { Metrics } from '../shared/training/metrics.ts';
import type { Measure } from './aggregation/combine.ts';
import type { Mark } from './enrolment/quarantine.ts';

/** One thing that happened. */
export type CoordinatorProgress =
  | { readonly type: 'listening'; readonly url: string }
  | {
      readonly type: 'enrolled';
      readonly clientId: ClientId;
      readonly name: string;
      readonly status: 'approved' | 'pending';
    }
  | { readonly type: 'client-joined' | 'client-left'; readonly clientId: ClientId; readonly present: number }
  | {
      readonly type: 'round-started';
      readonly roundIndex: number;
      readonly roundHash: Digest;
      readonly asked: number;
      /** Clients that are there and not asked although the plan says all: one masked sum has no room for them. */
      readonly beyond: number;
    }
  | { readonly type: 'client-accepted'; readonly clientId: ClientId }
  | { readonly type: 'client-declined'; readonly clientId: ClientId; readonly code: string; readonly reason: string }
  | {
      readonly type: 'client-progress';
      readonly clientId: ClientId;
      readonly stepsDone: number;
      readonly stepCount: number;
    }
  | {
      readonly type: 'client-finished';
      readonly clientId: ClientId;
      readonly roundIndex: number;
      readonly exampleCount: number;
      /** Mean training loss, where the site discloses it. */
      readonly trainLoss: number | null;
      readonly seconds: number;
    }
  | {
      readonly type: 'rejected';
      readonly clientId: ClientId | null;
      readonly code: ViolationCode;
      readonly detail: string;
    }
  | {
      readonly type: 'published';
      readonly version: number;
      readonly roundIndex: number;
      readonly modelHash: Digest;
      readonly asked: number;
      readonly contributors: number;
      readonly exampleCount: number;
      readonly metrics: Metrics | null;
      /** What the aggregation rule measured, ascending in name. */
      readonly measures: readonly Measure[];
      readonly seconds: number;
    }
  /** The rule of the plan sets a client aside. */
  | {
      readonly type: 'client-quarantined';
      readonly clientId: ClientId;
      readonly name: string;
      readonly marks: readonly Mark[];
    }
  | { readonly type: 'client-released'; readonly clientId: ClientId }
  /** The gate does not publish what the round made. */
  | { readonly type: 'candidate-refused'; readonly roundIndex: number; readonly detail: string }
  /** Trained, and there for the masked round. */
  | { readonly type: 'client-ready'; readonly clientId: ClientId; readonly roundIndex: number }
  /** A stage of a masked round, of its updates or of the evaluation of its candidate: `opened` says of how many the coordinator saw the sum. */
  | {
      readonly type: 'masking';
      readonly roundIndex: number;
      readonly of: 'update' | 'evaluation';
      readonly stage: 'roster' | 'drawn' | 'delivery' | 'survivors' | 'quorum' | 'opened';
      readonly clients: number;
    }
  /** A version that begins the next phase of a plan of phases. */
  | {
      readonly type: 'phase-started';
      readonly name: string;
      readonly index: number;
      readonly count: number;
      readonly version: number;
    }
  | { readonly type: 'void'; readonly roundIndex: number; readonly detail: string }
  | { readonly type: 'ended'; readonly status: 'completed' | 'stopped'; readonly detail: string };

/** Hears what happens; must not throw. */
export type CoordinatorListener = (event: CoordinatorProgress) => void;
