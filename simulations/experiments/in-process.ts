/**
 * A federation without sockets: the clients train in this process, their rows through the base in one call where that pays, up to rounding as real
 * clients do, and their deltas are combined by the coordinator's own fold and rule (FedAvg by examples, McMahan 2017). What it leaves out is everything that does not change
 * the result: enrolment, signatures, transfer.
 */
import { foldMean } from '../../coordinator/aggregation/fold.ts';
import { applyRule, ruleOf } from '../../coordinator/aggregation/rules.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import { parseClientId } from '../../shared/core/ids.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import type { TrainingConfiguration } from '../../shared/training/configuration.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';
import { trainClients } from '../../shared/training/train-together.ts';
import { weightOf } from '../../shared/update/weight.ts';

/** What {@link federate} needs. */
export interface FederateOptions {
  readonly model: TaskModel;
  /** Examples of every client, at least one each. */
  readonly clients: readonly ExampleSource[];
  readonly rounds: number;
  /** Local training of one round. */
  readonly configuration: TrainingConfiguration;
  readonly seed: number;
  /** Told after every client's turn. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number; readonly loss: number }) => void;
}

const rule = ruleOf({ rule: 'fedavg', serverLearningRate: 1, momentum: 0, beta1: 0, beta2: 0, tau: 1 });

/** The parameters `[dim]` after the last round. Same seed, examples and back end: same bytes. */
export async function federate(options: FederateOptions): Promise<Float32Array> {
  const { model, clients, rounds, configuration, seed, onProgress } = options;
  let adapter = model.initialise(seed);
  const state = rule.init(adapter.length);
  for (let index = 0; index < rounds; index++) {
    let done = index * clients.length;
    const trained = await trainClients({
      model,
      clients: clients.map((source) => ({ start: adapter, source, seed: seed + index })),
      configuration,
      round: { index, count: rounds },
      onDone: (_, { meanLoss }) => onProgress?.({ done: ++done, total: rounds * clients.length, loss: meanLoss }),
    });
    const contributions = trained.map(({ delta }, clientIndex) => ({
      clientId: parseClientId(clientIndex.toString(16).padStart(64, '0')),
      weight: weightOf('examples', clients[clientIndex]!.count),
      scan: async (take: (part: Uint8Array) => void) => take(bytesOf(delta)),
    }));
    adapter = applyRule(rule, state, adapter, await foldMean(contributions, adapter.length));
  }
  return adapter;
}
