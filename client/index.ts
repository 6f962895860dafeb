/**
 * The client as a library: everything to take part in a federation from an application. What is particular to Node stands in
 * `client/node.ts`; other places bring a {@link Platform} of their own.
 */

export { FederationError, FormatError, StoreError, TransportError, UsageError } from '../shared/core/errors.ts';
export type { ColumnMapping, RecordView } from '../shared/data/row-fields.ts';
export { viewsOf } from '../shared/data/row-fields.ts';
export type { Policy } from '../shared/plan/policy.ts';
export { defaultPolicy, parsePolicy } from '../shared/plan/policy.ts';
export type { Client, ClientOptions } from './client.ts';
export { createClient } from './client.ts';
export type { ClientEvent, ClientListener } from './events.ts';
export type { LearnedUpdate, Learner, LearningProgress, PreparedLearning } from './learner.ts';
export type {
  ContentCache,
  Contribution,
  Credentials,
  Journal,
  JournalEntry,
  JsonAnswer,
  Platform,
} from './platform/ports.ts';
export { emptyJournal } from './platform/ports.ts';
export type { ExampleKeeper, KeptExamples, RecordFeed } from './record-feed.ts';
export type { FinishReason } from './session/machine.ts';
export type { TaskLearnerOptions } from './task-learner.ts';
export { taskLearner } from './task-learner.ts';
export type { Traffic } from './transport/link.ts';
export type { Answer, Call, IncomingEvent, Transport, TransportListener } from './transport/transport.ts';
