/** What the client library needs on Node: durable state in one folder. */
export { nodePlatform } from './platform/node.node.ts';
