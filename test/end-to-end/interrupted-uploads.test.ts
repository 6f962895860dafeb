/** Uploads over real sockets, each cut by the coordinator's side before or after a chunk was stored: only what is missing is sent again, and the sum is that of the very updates. */
import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { socketServer } from '../../coordinator/transport/socket-server.ts';
import type { Transport } from '../../coordinator/transport/transport.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import { decodeMessage } from '../../shared/protocol/codec.ts';
import { plainCalls } from '../../shared/protocol/messages.ts';
import { dim, federationPlan, onlyValue, openWorld, policyWith, type World } from './world.ts';

const chunkCount = 3;

/** A server that ends connections as `cuts` says: of every round the index of a chunk, and whether it is stored before the connection ends. */
function cuttingServer(cuts: readonly { readonly index: number; readonly isStored: boolean }[]) {
  const inner = socketServer({ port: 0 });
  const done = new Set<string>();
  const rounds: string[] = [];
  /** Chunks that came in each round, of all clients. */
  const chunkCounts = new Map<string, number>();
  let cutCount = 0;
  const transport: Transport = {
    ...inner,
    listen: (handlers) =>
      inner.listen({
        ...handlers,
        call: async (peer, name, body, attachment) => {
          const said = name === 'upload-chunk' ? decodeMessage(plainCalls[name], body) : null;
          if (!said?.ok) return handlers.call(peer, name, body, attachment);
          const { roundHash, index } = said.value;
          if (!rounds.includes(roundHash)) rounds.push(roundHash);
          chunkCounts.set(roundHash, (chunkCounts.get(roundHash) ?? 0) + 1);
          const cut = cuts[rounds.indexOf(roundHash)];
          const key = (clientId: ClientId): string => `${roundHash} ${clientId}`;
          if (cut?.index !== index || done.has(key(peer.clientId))) return handlers.call(peer, name, body, attachment);
          done.add(key(peer.clientId));
          cutCount++;
          if (cut.isStored) await handlers.call(peer, name, body, attachment);
          peer.close();
          return new Promise<never>(() => undefined);
        },
      }),
  };
  return { transport, cutCount: () => cutCount, chunkCounts };
}

/** Of single updates every cut; of masked vectors, which go the same way, every chunk once. */
const all = [0, 1, 2].flatMap((index) => [false, true].map((isStored) => ({ index, isStored })));
const each = all.filter(({ index, isStored }) => isStored === (index !== 1));

describe('uploads that are interrupted', function () {
  this.timeout(60_000);
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  for (const [mode, clientCount, cuts] of [
    ['off', 1, all],
    ['on', 3, each],
  ] as const)
    it(`[IUP-1] chunk-resume: sockets are killed at every chunk of ${mode === 'on' ? 'masked vectors' : 'updates'}, before it is stored or after: every version is the mean of the very updates`, async () => {
      const server = cuttingServer(cuts);
      const rounds = { count: cuts.length, cohortSize: clientCount, quorum: clientCount };
      const plan = federationPlan(rounds, { everyRounds: 0 }, { mode });
      const { coordinator } = await world.startCoordinator(plan, { transport: server.transport });
      const clients = [];
      for (let index = 0; index < clientCount; index++) {
        const platform = await nodePlatform(join(world.folder, `site-${index}`));
        // Waits before a client comes back are a hundredth of what they are.
        const clock: Clock = {
          ...platform.clock,
          after: (delayMs, action) => platform.clock.after(delayMs / 100, action),
        };
        clients.push(
          await world.startClient(
            `site-${index}`,
            { delta: (roundIndex) => new Float32Array(dim).fill(2 ** -roundIndex * (index + 1)) },
            {
              platform: { ...platform, clock },
              invite: await coordinator.invite({ organisation: `site ${index}` }),
              policy: policyWith({ organisationsMin: 1 }),
            },
          ),
        );
      }
      assert.equal((await coordinator.ended).status, 'completed');
      for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
      assert.equal(server.cutCount(), cuts.length * clientCount);
      const mean = (clientCount + 1) / 2;
      let expected = 0;
      const library = await coordinator.library();
      assert.equal(library.length, cuts.length + 1);
      for (const [roundIndex, { row, record }] of library.slice(1).entries()) {
        expected += mean * 2 ** -roundIndex;
        const value = onlyValue(float32Of(await coordinator.adapter(row)));
        assert.ok(Math.abs(value - expected) < (mode === 'on' ? 1e-3 : 1e-6), `version ${roundIndex + 1}: ${value}`);
        assert.deepEqual(record.rejections, []);
        assert.equal(record.contributors.length, clientCount);
      }
      // Of each client what was under way when it was cut may come again, and nothing that was stored and answered.
      for (const count of server.chunkCounts.values())
        assert.ok(count > clientCount * chunkCount - clientCount && count <= 2 * clientCount * chunkCount, `${count}`);
    });
});
