/** both-secrets-request against whole clients: a coordinator that offers a round again to a client that was started anew, whose journal is a file. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodePlatform } from '../../client/platform/node.node.ts';
import type { MemoryConnection } from '../../coordinator/transport/memory-transport.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, startWorld, testPlan, until, type World } from '../coordinator/harness.ts';
import { losingCalls, platformIn, runClient } from './memory-federation.ts';

const dim = 3;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(1) });

describe('a masked round that is offered again', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-replays-'));
  });
  afterEach(async () => {
    await closeWorlds();
    await rm(folder, { recursive: true, force: true });
  });

  /** What a client that is gone when it would say `kind`, and started again twice, makes of the offer of that round that comes once more. */
  async function offeredAgain(kind: 'AGREE' | 'UNMASK') {
    const changes = {
      rounds: { count: 1, cohortSize: 4, quorum: 3, voidsMax: 1 },
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: 'on' },
    };
    const world = await startWorld({
      plan: { ...testPlan(changes), base: { digest: fixedBaseDigest(fixedBase) } },
      ...fixedStart(dim),
    });
    let offer: Uint8Array | null = null;
    let isAgain = false;
    /** What those who come back make of the offer. */
    const answers: string[] = [];
    /** A coordinator that keeps its offer, signed as it was, and shows it to who comes back. */
    const connect: World['transport']['connect'] = async (auth, onEvent, onLost) => {
      const opened = await world.transport.connect(
        auth,
        (event, body) => {
          if (event === 'offer') offer ??= body;
          onEvent(event, body);
          if (isAgain && event === 'welcome') onEvent('offer', offer!);
        },
        onLost,
      );
      if (!opened.ok) return opened;
      const connection: MemoryConnection = {
        ...opened.value,
        call: (name, ...rest) => {
          if (isAgain && (name === 'accept' || name === 'decline')) answers.push(name);
          return opened.value.call(name, ...rest);
        },
      };
      return { ok: true, value: connection };
    };
    const bent = { ...world, transport: { ...world.transport, connect } };
    const gone = Promise.withResolvers<void>();
    const seen = losingCalls(bent, (call) => {
      if (call.kind === kind) gone.resolve();
      return call.kind === kind;
    });
    const start = async (through: World) => {
      // Nothing but the files is the same as before.
      const { journal, cache, evidence } = await nodePlatform(folder);
      return runClient(through, {
        platform: { ...platformIn(world, 700), journal, cache, evidence },
        learner,
        policy,
      });
    };
    const first = await start(seen);
    // A second one that is mute keeps the round open meanwhile.
    const mute = losingCalls(world, (call) => call.kind === kind);
    const others = [];
    for (const [index, through] of [mute, world, world].entries())
      others.push(await runClient(through, { platform: platformIn(world, 701 + index), learner, policy }));
    await gone.promise;
    first.stop();
    await first.ended;
    isAgain = true;
    const refusals: string[] = [];
    for (let again = 1; again <= 2; again++) {
      const next = await start(bent);
      await until(() => answers.length === again, 'a client that is started again to hear the offer');
      next.stop();
      await next.ended;
      refusals.push(...next.problems.filter((problem) => problem.startsWith('stale-round')));
    }
    for (const client of others) client.stop();
    await Promise.all(others.map(({ ended }) => ended));
    return { answers, refusals };
  }

  it('[MRP-1] both-secrets-request: a client whose journal has its unmasking declines the round, however often it is started', async () => {
    const refusal = 'stale-round: round 0 offered, but this client already contributed to round 0';
    const expected = { answers: ['decline', 'decline'], refusals: [refusal, refusal] };
    assert.deepEqual(await offeredAgain('UNMASK'), expected);
  });

  it('[MRP-2] both-secrets-request: one that was gone before takes the same offer, so that the journal alone makes the difference', async () => {
    assert.deepEqual(await offeredAgain('AGREE'), { answers: ['accept', 'accept'], refusals: [] });
  });
});
