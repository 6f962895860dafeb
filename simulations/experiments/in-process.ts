/**
 * A federation without sockets: the clients train one after the other in this process with the loop that real clients run, and their deltas are
 * combined by the coordinator's own fold and rule (FedAvg by examples, McMahan 2017). What it leaves out is everything that does not change
 * the result: enrolment, signatures, transfer.
 */
import { foldMean } from '../../coordinator/aggregation/fold.ts';
import { applyRule, ruleOf } from '../../coordinator/aggregation/rules.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import { parseClientId } from '../../shared/core/ids.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import type { TrainingConfiguration } from '../../shared/training/configuration.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
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
    const deltas: Float32Array[] = [];
    for (const [clientIndex, source] of clients.entries()) {
      const { delta, meanLoss } = await trainLocally({
        model,
        start: adapter,
        source,
        configuration,
        seed: seed + index,
        round: { index, count: rounds },
      });
      deltas.push(delta);
      onProgress?.({
        done: index * clients.length + clientIndex + 1,
        total: rounds * clients.length,
        loss: meanLoss,
      });
    }
    const contributions = deltas.map((delta, clientIndex) => ({
      clientId: parseClientId(clientIndex.toString(16).padStart(64, '0')),
      weight: weightOf('examples', clients[clientIndex]!.count),
      scan: async (take: (part: Uint8Array) => void) => take(bytesOf(delta)),
    }));
    adapter = applyRule(rule, state, adapter, await foldMean(contributions, adapter.length));
  }
  return adapter;
}
