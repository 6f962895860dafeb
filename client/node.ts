/** What the client library needs on Node: durable state in one folder, and rows and policies from files. */
export { readRows } from '../shared/data/rows.node.ts';
export { readPolicy } from '../shared/plan/read-plan.node.ts';
export type { LearningNote } from './learning-thread/messages.ts';
export type { SiteLearnerOptions, SiteLearning } from './learning-thread/site-learner.node.ts';
export { siteLearner } from './learning-thread/site-learner.node.ts';
export type { LearnerMaker, ThreadLearner, ThreadLearnerOptions } from './learning-thread/thread-learner.node.ts';
export { openThreadLearner } from './learning-thread/thread-learner.node.ts';
export { nodePlatform } from './platform/node.node.ts';
