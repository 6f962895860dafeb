/** What the thread of the sockets and the thread that computes answers say to each other. */
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import type { BackendName } from '../../shared/compute/backend-names.ts';
import type { FrozenPrecision } from '../../shared/compute/compact-matrix.ts';
import type { Failure } from '../../shared/core/failure.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import type { Written } from '../../shared/model/write-text.ts';
import type { Answered, Asked, Writing } from './engine.ts';

/** How the thread computes. */
export interface EngineSettings {
  /** Folder of the base. */
  readonly baseFolder: string;
  readonly backend: BackendName | 'auto';
  readonly threads: number;
  readonly frozenWeights: FrozenPrecision;
}

/** What is known of the engine once its base is loaded. */
export interface EngineFacts {
  readonly base: BaseDescription;
  readonly backend: string;
}

/** To the thread. Every `call` is answered once. */
export type ToEngine =
  | { readonly type: 'load'; readonly call: number; readonly key: string; readonly document: AdapterDocument }
  | { readonly type: 'drop'; readonly key: string }
  | { readonly type: 'answer'; readonly call: number; readonly asked: readonly Asked[] }
  | { readonly type: 'write'; readonly call: number; readonly writing: Writing }
  /** A call is no longer wanted; it is answered all the same. */
  | { readonly type: 'cancel'; readonly call: number };

/** The answer to a call. */
export type EngineAnswer =
  | { readonly type: 'loaded'; readonly call: number }
  | { readonly type: 'answered'; readonly call: number; readonly answered: readonly Answered[] }
  | { readonly type: 'written'; readonly call: number; readonly written: Written }
  | { readonly type: 'failed'; readonly call: number; readonly failure: Failure };

/** From the thread. */
export type FromEngine =
  | { readonly type: 'opened'; readonly facts: EngineFacts }
  | { readonly type: 'not-opened'; readonly failure: Failure }
  | EngineAnswer;
