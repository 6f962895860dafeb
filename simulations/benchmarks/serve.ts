/**
 * `serve`: requests per second that a server of adapters answers over HTTP, with so many adapters on one base: many clients at once, whose requests
 * share their passes, and one after the other, in turns within one run. Every client asks the adapter after the one that it asked before.
 *
 * Flags: `--backend --threads --rank --clients --requests --turns`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServing } from '../../coordinator/serving/serving.ts';
import { createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { writeAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { loadBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { type Benchmark, integerFlag, machineName, median } from './benchmark.ts';
import { backendFlag } from './measured-step.ts';

/** Adapters that are offered at a time. */
const counts = [1, 8, 64] as const;
const words = ['where', 'is', 'my', 'card', 'the', 'payment', 'was', 'declined', 'and', 'i', 'need', 'help'];

/** Measures both for every count. */
export const bench: Benchmark = async (flags, progress) => {
  const backend = backendFlag({ backend: 'native', ...flags });
  const threads = integerFlag(flags, 'threads', 1);
  const rank = integerFlag(flags, 'rank', 8);
  const clients = integerFlag(flags, 'clients', 32);
  const requests = integerFlag(flags, 'requests', 256);
  const turns = integerFlag(flags, 'turns', 3);
  const folder = await mkdtemp(join(tmpdir(), 'tributary-serve-'));
  try {
    await writeAdapters(folder, rank);
    const places = [{ kind: 'folder', folder, name: null }] as const;
    const limits = { waitingMax: 4096 };
    const options = { baseFolder: pretrainedFolder(), places, port: 0, backend, threads, refreshMs: 0, limits };
    const serving = await startServing(options);
    const ask = async (adapter: string, index: number): Promise<void> => {
      const text = Array.from(words, (_, place) => words[(index + place) % words.length]).join(' ');
      const response = await fetch(`${serving.url}/classify`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ adapter, texts: [text] }),
      });
      if (!response.ok) throw new Error(`a request failed: ${response.status} ${await response.text()}`);
      await response.arrayBuffer();
    };
    /** Requests per second of `lanes` clients, each of which asks again once it is answered. */
    const measure = async (lanes: number, adapters: readonly string[]): Promise<number> => {
      let next = 0;
      const startedMs = performance.now();
      const lane = async (): Promise<void> => {
        for (let index = next++; index < requests; index = next++) await ask(adapters[index % adapters.length]!, index);
      };
      await Promise.all(Array.from({ length: lanes }, lane));
      return (1000 * requests) / (performance.now() - startedMs);
    };
    try {
      const results: Record<string, number> = { clients, requests };
      for (const count of counts) {
        const adapters = serving.names().slice(0, count);
        // All adapters are loaded before the clock starts.
        await measure(clients, adapters);
        const rates = { together: [] as number[], alone: [] as number[] };
        for (let turn = 0; turn < turns; turn++) {
          rates.alone.push(await measure(1, adapters));
          rates.together.push(await measure(clients, adapters));
        }
        const [together, alone] = [median(rates.together), median(rates.alone)];
        progress(`${count} adapters: ${together.toFixed(0)} requests/s together, ${alone.toFixed(0)} one by one`);
        results[`togetherPerSecond${count}`] = together;
        results[`oneByOnePerSecond${count}`] = alone;
        results[`ratio${count}`] = median(rates.together.map((rate, turn) => rate / rates.alone[turn]!));
      }
      return { name: 'serve', machine: machineName(), backend: serving.facts.backend, threads, results };
    } finally {
      await serving.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
};

/** As many adapters as are ever offered, with start values of their own. */
async function writeAdapters(folder: string, rank: number): Promise<void> {
  await useBackend('cpu');
  const { model: base } = await loadBase(pretrainedFolder());
  const adapter = { method: 'lora', rank } as const;
  const task = { kind: 'classification', labels: ['a', 'b', 'c'], pooling: 'mean', lengthMax: 32 } as const;
  const model = createTaskModel({ base, adapter: parseAdapter(adapter, base.description), task });
  for (let seed = 0; seed < Math.max(...counts); seed++) {
    const facts = { base: base.description, adapter: { ...adapter }, task, layout: model.layout };
    const document = createAdapterDocument({ ...facts, parameters: model.initialise(seed) });
    await writeAdapterFolder(join(folder, `adapter-${seed}`), document);
  }
  base.dispose();
}
