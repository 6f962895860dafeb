/**
 * What masks cost: a client's part of a round and the coordinator's, beside a plain sum of vectors of the same length in the same run; then whole
 * rounds over loopback sockets, masked and plain, whose clients train nothing and share this process.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../../client/client.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { foldMean } from '../../coordinator/aggregation/fold.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { fracBitsMax } from '../../shared/secure-aggregation/quantise.ts';
import { thresholdsOf } from '../../shared/secure-aggregation/threshold.ts';
import { bareLearner } from './bare-learner.ts';
import { type Benchmark, integerFlag, machineName, median } from './benchmark.ts';
import { benchmarkFederation, benchmarkPolicy } from './federation.ts';
import { type CohortTimes, timeCohort } from './masked-cohort.ts';

/**
 * What the security specification predicts on one thread (section 2.8): a mask at 2.5e8 words a second, encoding at 18 ns a value, n + T
 * signatures to verify (18 ms for 100 + 67) and n T shares to make (5.4 ms for 100 x 67), and its 2 (n - 1) agreements at 0.04 ms, which OpenSSL
 * takes on this kind of machine. The bar is twice that.
 */
const maskMs = (dim: number): number => dim / 2.5e5;
const encodeMs = (dim: number): number => dim * 18e-6;
const handshakeMs = (clientCount: number): number => {
  const threshold = thresholdsOf(clientCount, 'active').shares;
  return (clientCount + threshold) * (18 / 167) + clientCount * threshold * (5.4 / 6700) + 2 * (clientCount - 1) * 0.04;
};

/** Rounds of a federation; the first compiles code and is not counted. */
const roundCount = 4;

/** Milliseconds of the rounds of a federation over sockets: their median. */
async function timeRounds(clientCount: number, delta: Float32Array, isMasked: boolean): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-masked-'));
  const seconds: number[] = [];
  const coordinator = await startCoordinator({
    ...benchmarkFederation({ clientCount, roundCount, dim: delta.length, isMasked }),
    stateFolder: join(folder, 'coordinator'),
    onEvent: (event) => {
      if (event.type === 'published') seconds.push(event.seconds);
    },
  });
  try {
    const ends = [];
    for (let index = 0; index < clientCount; index++) {
      const client = await createClient({
        platform: await nodePlatform(join(folder, `site-${index}`)),
        learner: bareLearner(delta),
        policy: benchmarkPolicy,
        invite: await coordinator.invite({ organisation: `site ${index}` }),
      });
      ends.push(client.run());
    }
    await coordinator.ended;
    await Promise.all(ends);
  } finally {
    await coordinator.close();
    rmSync(folder, { recursive: true, force: true });
  }
  return 1000 * median(seconds.slice(1));
}

/** Measures masked rounds. */
export const bench: Benchmark = async (flags, progress) => {
  const clientCount = integerFlag(flags, 'clients', 10);
  const dim = integerFlag(flags, 'dim', 100_000);
  const vanishedCount = flags.dropouts === undefined ? 0 : integerFlag(flags, 'dropouts', 1);
  const random = seededRandom(1, 'delta');
  const delta = Float32Array.from({ length: dim }, () => random.uniform() / 100);
  const fracBits = fracBitsMax({ ringBits: 32, coordBound: 8 }, clientCount);
  if (fracBits === null) throw new RangeError(`--clients ${clientCount} do not fit the ring`);
  const encoding = { ringBits: 32, fracBits, coordBound: 8, clipNorm: 1e6, weightMax: 1 } as const;
  progress('warming up');
  // Long enough for the threads to start.
  await timeCohort({ clientCount: 5, vanishedCount: 1, delta: delta.subarray(0, 70_000), encoding });
  progress(`masked rounds of ${clientCount} clients, ${vanishedCount} of them vanish`);
  const cohorts: CohortTimes[] = [];
  for (let count = 0; count < (clientCount > 16 ? 3 : 5); count++)
    cohorts.push(await timeCohort({ clientCount, vanishedCount, delta, encoding }));
  const survivorCount = clientCount - vanishedCount;
  const contributions = Array.from({ length: survivorCount }, (_, index) => ({
    clientId: index.toString(16).padStart(64, '0') as ClientId,
    weight: 1,
    scan: async (take: (part: Uint8Array) => void) => take(bytesOf(delta)),
  }));
  const startedMs = performance.now();
  await foldMean(contributions, dim);
  const plainSumMs = performance.now() - startedMs;
  const withRounds = clientCount <= 16;
  progress(withRounds ? 'whole rounds over sockets' : 'whole rounds are measured with up to 16 clients');
  const roundMs = withRounds ? await timeRounds(clientCount, delta, true) : null;
  const plainRoundMs = withRounds ? await timeRounds(clientCount, delta, false) : null;
  return {
    name: 'secure-aggregation',
    machine: machineName(),
    backend: null,
    threads: availableParallelism(),
    results: {
      clients: clientCount,
      dim,
      dropouts: vanishedCount,
      clientMs: median(cohorts.map(({ clientMs }) => clientMs)),
      clientBoundMs: 2 * (clientCount * maskMs(dim) + encodeMs(dim) + handshakeMs(clientCount)),
      serverUnmaskMs: median(cohorts.map(({ serverUnmaskMs }) => serverUnmaskMs)),
      serverUnmaskBoundMs: 2 * (survivorCount + vanishedCount * survivorCount) * maskMs(dim),
      plainSumMs,
      uploadRatio: cohorts[0]!.uploadBytes / (4 * dim),
      roundMs,
      plainRoundMs,
    },
  };
};
