/**
 * `clients`: examples per second of several simulated clients on one base, trained together (their rows through the frozen products in one
 * call, each client's own adapter on its rows) and one by one, in turns within one run. By default the base has the sizes of the one that ships
 * (4 layers of 128), and texts are as long as requests to a bank (16 tokens).
 *
 * Flags: `--backend --threads --layers --width --heads --feed-forward --sequence --batch --rank --clients --steps --turns --adapter`.
 */
import process from 'node:process';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import { networkFrom } from '../../shared/model/load.ts';
import { defaultTraining, type TrainingConfiguration } from '../../shared/training/configuration.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { groupSizeOf, trainClients } from '../../shared/training/train-together.ts';
import { type Benchmark, integerFlag, machineName, median } from './benchmark.ts';
import { backendFlag, randomExamples, stepLabels } from './measured-step.ts';
import { randomEncoderFiles, type StepShape } from './random-encoder.ts';

/** Adapters that are measured. */
const adapters = {
  lora: (rank: number) => ({ method: 'lora', rank }),
  bottleneck: (rank: number) => ({ method: 'bottleneck', size: rank }),
} as const;

/** Examples per second of the clock, and per second of processor time. */
interface Rate {
  readonly wall: number;
  readonly cpu: number;
}

/** Measures both. */
export const bench: Benchmark = async (flags, progress) => {
  const backend = await useBackend(backendFlag(flags), { threads: integerFlag(flags, 'threads', 1) });
  const shape: StepShape = {
    layers: integerFlag(flags, 'layers', 4),
    width: integerFlag(flags, 'width', 128),
    heads: integerFlag(flags, 'heads', 4),
    feedForward: integerFlag(flags, 'feed-forward', 512),
    sequence: integerFlag(flags, 'sequence', 16),
    batch: integerFlag(flags, 'batch', 4),
    rank: integerFlag(flags, 'rank', 16),
  };
  const clientCount = integerFlag(flags, 'clients', 16);
  const steps = integerFlag(flags, 'steps', 6);
  const turns = integerFlag(flags, 'turns', 3);
  const method = adapterFlag(flags.adapter ?? 'lora');
  const base = networkFrom(randomEncoderFiles(shape));
  const adapter = parseAdapter(adapters[method](shape.rank), base.description);
  const task = { kind: 'classification', labels: stepLabels, pooling: 'first', lengthMax: shape.sequence } as const;
  const model = createTaskModel({ base, adapter, task });
  const examples = randomExamples(shape, clientCount * shape.batch);
  const clients = Array.from({ length: clientCount }, (_, client) => ({
    start: model.initialise(client),
    source: memorySource(examples.slice(client * shape.batch, (client + 1) * shape.batch)),
    seed: client,
  }));
  const configuration: TrainingConfiguration = {
    ...defaultTraining,
    localEpochs: undefined,
    localSteps: steps,
    batchSize: shape.batch,
    schedule: 'constant',
    warmupFraction: 0,
  };
  const together = () => trainClients({ model, clients, configuration });
  const oneByOne = async () => {
    const results = [];
    for (const client of clients) results.push(await trainLocally({ model, ...client, configuration }));
    return results;
  };
  const measure = async (run: () => Promise<unknown>): Promise<Rate> => {
    const [beganMs, before] = [performance.now(), process.cpuUsage()];
    await run();
    const { user, system } = process.cpuUsage(before);
    const examples = clientCount * steps * shape.batch;
    return { wall: (1000 * examples) / (performance.now() - beganMs), cpu: (1e6 * examples) / (user + system) };
  };
  // Kernels are compiled, and transposed copies made, before the clock starts; both must learn the same.
  const [first, second] = [await together(), await oneByOne()];
  const largest = (of: (value: number, client: number, place: number) => number): number =>
    Math.max(
      ...first.map(({ delta }, client) =>
        delta.reduce((most, value, place) => Math.max(most, Math.abs(of(value, client, place))), 0),
      ),
    );
  const turnsDone: { readonly together: Rate; readonly oneByOne: Rate }[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const found = { oneByOne: await measure(oneByOne), together: await measure(together) };
    progress(`${found.together.wall.toFixed(1)} examples/s together, ${found.oneByOne.wall.toFixed(1)} one by one`);
    turnsDone.push(found);
  }
  base.dispose();
  return {
    name: 'clients',
    machine: machineName(),
    backend: backend.name,
    threads: backend.threads,
    results: {
      adapter: method,
      clients: clientCount,
      batch: shape.batch,
      groupSize: Math.min(clientCount, groupSizeOf({ clients, configuration })),
      togetherPerSecond: median(turnsDone.map((found) => found.together.wall)),
      oneByOnePerSecond: median(turnsDone.map((found) => found.oneByOne.wall)),
      ratio: median(turnsDone.map((found) => found.together.wall / found.oneByOne.wall)),
      // Other programs on the machine disturb this one less.
      processorTimeRatio: median(turnsDone.map((found) => found.together.cpu / found.oneByOne.cpu)),
      largestChange: largest((value) => value),
      largestDifference: largest((value, client, place) => value - second[client]!.delta[place]!),
    },
  };
};

function adapterFlag(name: string | true): keyof typeof adapters {
  if (name === 'lora' || name === 'bottleneck') return name;
  throw new RangeError(`--adapter must be lora or bottleneck, found ${JSON.stringify(name)}`);
}
