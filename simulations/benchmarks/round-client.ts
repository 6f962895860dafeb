/**
 * Child process of the round benchmark: the real client with a delta that is there already instead of training. Speaks with its parent over
 * the process channel.
 */
import { createClient } from '../../client/client.ts';
import type { Learner } from '../../client/learner.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { markLate } from '../../shared/core/engine-memory.node.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { bareLearner } from './bare-learner.ts';
import { obeyParent } from './children.ts';
import { benchmarkPolicy } from './federation.ts';

/** What the parent tells a client: everything at once. */
export interface RoundClientOrder {
  readonly invite: string;
  readonly stateFolder: string;
  readonly dim: number;
  readonly mark: number;
}

/** What a client tells its parent. */
export type RoundClientReport =
  | { readonly type: 'result'; readonly roundIndex: number }
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly detail: string };

/** A learner that has learned already. */
function fixedLearner(dim: number, mark: number): Learner {
  const random = seededRandom(mark, 'delta');
  const delta = Float32Array.from({ length: dim }, () => (random.uniform() - 0.5) / 100);
  return bareLearner(delta);
}

const report = (message: RoundClientReport): void => void process.send?.(message);

async function run({ invite, stateFolder, dim, mark }: RoundClientOrder): Promise<void> {
  const client = await createClient({
    platform: await nodePlatform(stateFolder),
    learner: fixedLearner(dim, mark),
    policy: benchmarkPolicy,
    invite,
    name: `client ${mark}`,
    onEvent: (event) => {
      if (event.type === 'result') report({ type: 'result', roundIndex: event.roundIndex });
      if (event.type === 'problem' || event.type === 'declined') {
        report({ type: 'failed', detail: `${event.code}: ${event.detail}` });
      }
    },
  });
  await client.run();
  report({ type: 'finished' });
}

markLate();
obeyParent<RoundClientOrder>({
  take: (order) => {
    run(order).catch((thrown: unknown) => {
      report({ type: 'failed', detail: errorMessage(thrown) });
      process.exit(1);
    });
  },
});
