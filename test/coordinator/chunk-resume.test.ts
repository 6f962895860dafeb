/** Chunks that come in any order, again, changed, cut short or over a connection that is lost after each: the very update, or a refusal. */
import { strict as assert } from 'node:assert';
import { bytesOf, float32Of } from '../../shared/core/bytes.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { joinClient } from './fake-client.ts';
import { closeWorlds, settled, startWorld, testPlan } from './harness.ts';

const chunkCount = 4;
const dim = (chunkCount - 1) * (chunkBytesMax / 4) + 5;
const seedCount = 12;
/** What may happen to a chunk on its way; `drop` loses the connection after it. */
const fates = ['whole', 'again', 'flipped', 'short', 'long', 'swapped', 'drop'] as const;

describe('chunk-resume', () => {
  afterEach(closeWorlds);

  it(`[CHR-1] chunk-resume: ${seedCount} schedules of reordered, repeated, changed and interrupted chunks: each changed one is refused, and the version has the very bytes`, async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < seedCount; seed++) {
      const random = seededRandom(seed, 'chunk-resume');
      const rounds = { count: 1, cohortSize: 1, quorum: 1 };
      const world = await startWorld({ dim, plan: testPlan({ rounds, evaluation: { everyRounds: 0 } }) });
      const client = await joinClient(world, 11);
      await client.accept();
      const delta = Float32Array.from({ length: dim }, (_, index) => Math.fround(((index * 31 + seed) % 97) / 8));
      const bytes = bytesOf(delta);
      const { roundHash } = client.offer();
      const update = client.announcement(delta);
      const announce = async (): Promise<readonly number[]> => {
        const answer = await client.call('update', client.seal('update', update));
        assert.ok(answer.ok, JSON.stringify(answer));
        return answer.value.missing;
      };
      const part = (index: number) => bytes.slice(index * chunkBytesMax, (index + 1) * chunkBytesMax);
      const changed = {
        flipped: (chunk: Uint8Array) => {
          chunk[random.integer(chunk.length)]! ^= 1 << random.integer(8);
          return chunk;
        },
        short: (chunk: Uint8Array) => chunk.subarray(1),
        long: (chunk: Uint8Array) => Uint8Array.of(...chunk.subarray(0, 4), ...chunk.subarray(0, 4), 0),
        swapped: (_chunk: Uint8Array, index: number) => part((index + 1) % chunkCount),
      } as const;
      const stored = new Set<number>();
      let missing = await announce();
      for (let step = 0; missing.length > 0; step++) {
        assert.ok(step < 200, 'the upload ends');
        assert.deepEqual(
          missing,
          [...Array(chunkCount).keys()].filter((index) => !stored.has(index)),
          `schedule ${seed}`,
        );
        const early = await client.plain('commit', { roundHash });
        assert.equal(!early.ok && early.error.code, 'missing-chunks');
        const index = missing[random.integer(missing.length)]!;
        const fate = fates[random.integer(fates.length)]!;
        seen.add(`${fate} ${index}`);
        const send = (chunk: Uint8Array) => client.plain('upload-chunk', { roundHash, index }, chunk);
        if (fate in changed) {
          const refused = await send(changed[fate as keyof typeof changed](part(index), index));
          assert.match(
            refused.ok ? 'taken' : refused.error.code,
            /^(?:chunk-mismatch|wrong-length)$/,
            `${fate} ${index}`,
          );
        } else {
          for (let count = fate === 'again' ? 2 : 1; count > 0; count--) assert.ok((await send(part(index))).ok);
          stored.add(index);
        }
        if (fate === 'drop') {
          client.leave();
          await client.connect();
        }
        missing = await announce();
      }
      assert.ok((await client.plain('commit', { roundHash })).ok);
      await settled();
      const version = (await world.coordinator.versions()).at(-1)!;
      assert.deepEqual(bytesOf(float32Of(await world.coordinator.adapter(version))), bytes);
    }
    for (const fate of fates)
      assert.ok(
        [...seen].some((one) => one.startsWith(fate)),
        `${fate} was never tried`,
      );
  });
});
