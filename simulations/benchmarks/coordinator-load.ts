/**
 * Child process of the coordinator benchmark: one coordinator with durable state on disk, one round, many clients in the same process.
 * Prints one JSON line. A process of its own, because the peak of its memory is one of the results.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CoordinatorProgress } from '../../coordinator/coordinator.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { memoryTransport } from '../../coordinator/transport/memory-transport.ts';
import { assert } from '../../shared/core/assert.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { benchmarkFederation } from './federation.ts';
import type { LoadClient } from './load-client.ts';
import { joinLoadClient } from './load-client.ts';

/** What one load did. */
export interface LoadReport {
  readonly updatesPerSecond: number;
  /** Updates per second of processor time, user and system. */
  readonly updatesPerCpuSecond: number;
  readonly peakMegabytes: number;
}

/** Uploads that are under way at once; all updates are announced before the first chunk is sent. */
const lanes = 8;

/** Does `work` on every item, `lanes` at once. */
async function inLanes<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

async function load(clientCount: number, dim: number): Promise<LoadReport> {
  const stateFolder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  try {
    const transport = memoryTransport();
    const events: CoordinatorProgress[] = [];
    const coordinator = await startCoordinator({
      ...benchmarkFederation({ clientCount, roundCount: 1, dim }),
      stateFolder,
      transport,
      onEvent: (event) => {
        if (event.type === 'rejected' || event.type === 'published') events.push(event);
      },
    });
    const random = seededRandom(1, 'load');
    const delta = Float32Array.from({ length: dim }, () => random.uniform() - 0.5);
    const clients: LoadClient[] = [];
    for (let mark = 1; mark <= clientCount; mark++) {
      clients.push(await joinLoadClient({ coordinator, transport, delta, mark, random: random.fork('client', mark) }));
    }
    for (const client of clients) {
      await client.offered;
      client.prepare();
    }
    await inLanes(clients, (client) => client.accept());
    const cpu = process.cpuUsage();
    const startMs = performance.now();
    await inLanes(clients, (client) => client.announce());
    await inLanes(clients, (client) => client.upload());
    await coordinator.ended;
    const seconds = (performance.now() - startMs) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    await coordinator.close();
    const published = events.find((event) => event.type === 'published');
    assert(events.length === 1 && published?.contributors === clientCount, 'every update is taken and accumulated');
    return {
      updatesPerSecond: clientCount / seconds,
      updatesPerCpuSecond: clientCount / ((user + system) / 1e6),
      peakMegabytes: process.resourceUsage().maxRSS / 1024,
    };
  } finally {
    rmSync(stateFolder, { recursive: true, force: true });
  }
}

const [clientCount, dim] = process.argv.slice(2).map(Number);
assert(clientCount !== undefined && dim !== undefined, 'the benchmark gives clients and values');
console.log(JSON.stringify(await load(clientCount, dim)));
