/** What a running client tells its owner: one closed union, for progress on a terminal, in a log or in an application. */
import type { Digest } from '../shared/core/ids.ts';
import type { FinishReason } from './session/machine.ts';

/** One thing that happened. `problem`: something failed and the client goes on. Nothing here holds data rows, keys or deltas. */
export type ClientEvent =
  | { readonly type: 'waiting-for-approval'; readonly fingerprint: string }
  | { readonly type: 'enrolled'; readonly url: string }
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected'; readonly detail: string; readonly retryMs: number }
  | { readonly type: 'offered'; readonly roundIndex: number }
  | { readonly type: 'declined'; readonly roundIndex: number; readonly code: string; readonly detail: string }
  | { readonly type: 'downloaded'; readonly what: string; readonly bytes: number; readonly size: number }
  | {
      readonly type: 'training';
      readonly roundIndex: number;
      readonly stepsDone: number;
      readonly stepCount: number;
      readonly loss: number;
    }
  | { readonly type: 'uploading'; readonly roundIndex: number; readonly bytes: number; readonly size: number }
  | { readonly type: 'uploaded'; readonly roundIndex: number; readonly bytes: number; readonly exampleCount: number }
  | { readonly type: 'evaluated'; readonly modelHash: Digest; readonly disclosed: boolean }
  | {
      readonly type: 'result';
      readonly roundIndex: number;
      readonly newModelHash: Digest;
      readonly contributorCount: number;
    }
  | { readonly type: 'void'; readonly roundIndex: number; readonly reason: string }
  | { readonly type: 'problem'; readonly code: string; readonly detail: string }
  | { readonly type: 'finished'; readonly reason: FinishReason };

/** Gets every event in order; what it throws ends the client. */
export type ClientListener = (event: ClientEvent) => void;
