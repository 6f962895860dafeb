/** What the client library needs on Node: durable state in one folder, and rows and policies from files. */
export { readRows } from '../shared/data/rows.node.ts';
export { readPolicy } from '../shared/plan/read-plan.node.ts';
export { nodePlatform } from './platform/node.node.ts';
