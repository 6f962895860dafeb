/**
 * A federation without sockets under any rule for low-rank pairs: clients begin where the published version puts them, train with the loop of real
 * clients, upload what the rule asks for, and the coordinator's own code combines it.
 */
import { combine, readsSingles } from '../../coordinator/aggregation/combine.ts';
import { foldMean } from '../../coordinator/aggregation/fold.ts';
import { ruleOf } from '../../coordinator/aggregation/rules.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import { parseClientId, parseDigest } from '../../shared/core/ids.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { besideFrozen } from '../../shared/training/beside-frozen.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { createTaskModel, type TaskModel } from '../../shared/training/task-model.ts';
import { trainClients } from '../../shared/training/train-together.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { firstPublished, personalised, personalOf, trainingStartOf } from '../../shared/update/training-start.ts';
import { uploadOf } from '../../shared/update/upload.ts';

/** What {@link federateByRule} needs. */
export interface RuleFederation {
  readonly base: LoadedBase;
  /** Its adapter, task, training and aggregation count, and its rounds. */
  readonly plan: Plan;
  readonly clients: readonly ExampleSource[];
  readonly test: ExampleSource;
  readonly seed: number;
  readonly onRound?: (done: number) => void;
}

/** How it went. */
export interface RuleOutcome {
  /** Of what is published, on all test rows: what a new site gets. */
  readonly published: number;
  /** Of what is published with a client's own parts, on all test rows; the mean over the clients. */
  readonly personalised: number;
  /** Of what a client holds at the end of its own training of the last round, likewise. */
  readonly local: number;
  /** One update as float32. */
  readonly updateBytes: number;
  /** What the rule measured in the last round, by name. */
  readonly measures: Readonly<Record<string, number>>;
}

/** Runs all rounds with all clients in each. @throws UsageError where the plan's parts do not fit. */
export async function federateByRule(options: RuleFederation): Promise<RuleOutcome> {
  const { base, plan, clients, test, seed, onRound } = options;
  const rounds = plan.rounds.count;
  const { trained, published: whole } = planAdapters(plan, base.model.description);
  const exchange = exchangeOf(plan.aggregation, whole.layout, trained.layout);
  const beside = besideFrozen(trained, whole);
  const modelOf = ({
    adapter,
    layout,
  }: {
    adapter: typeof beside.adapter;
    layout: typeof trained.layout;
  }): TaskModel => ({
    ...createTaskModel({ base: base.model, adapter, task: plan.task, tokenizer: base.tokenizer }),
    layout,
  });
  const model = modelOf({ adapter: beside.adapter, layout: trained.layout });
  const measured = modelOf({ adapter: whole.adapter, layout: whole.layout });
  const rule = ruleOf(plan.aggregation);
  const state = rule.init(exchange.stepDim);
  const total = clients.reduce((sum, { count }) => sum + count, 0);
  const own: (Float32Array | null)[] = clients.map(() => null);
  let published = firstPublished(exchange, model.initialise(seed));
  let measures: Readonly<Record<string, number>> = {};
  let local = 0;
  for (let index = 0; index < rounds; index++) {
    const roundHash = parseDigest(index.toString(16).padStart(64, '0'));
    const begins = clients.map((_, place) => {
      const fresh = () => model.initialise(seed + index);
      return trainingStartOf(exchange, { published, rankMax: null, personal: own[place]!, fresh });
    });
    // What acts beside the adapters is what was published, and so the same for all.
    beside.use(begins[0]?.frozen ?? null);
    const trained = await trainClients({
      model,
      clients: clients.map((source, place) => ({ start: begins[place]!.start, source, seed: seed + index })),
      configuration: plan.training,
      round: { index, count: rounds },
    });
    const accuracies: number[] = [];
    for (const { parameters } of index === rounds - 1 ? trained : [])
      accuracies.push((await evaluate({ model, parameters, source: test })).accuracy);
    beside.use(null);
    const singles = trained.map(({ parameters, delta }, place) => {
      own[place] = personalOf(exchange, parameters);
      const values = uploadOf(exchange, { start: begins[place]!.start, delta, counts: new Map(), roundHash });
      return { share: clients[place]!.count / total, values };
    });
    const contributions = singles.map(({ share, values }, place) => ({
      clientId: parseClientId(place.toString(16).padStart(64, '0')),
      weight: share,
      scan: async (take: (part: Uint8Array) => void) => take(bytesOf(values)),
    }));
    const found = await combine({
      exchange,
      rule,
      state,
      start: published,
      mean: await foldMean(contributions, exchange.uploaded.dim),
      singles: readsSingles(exchange, clients.length) ? singles : [],
      clientCount: clients.length,
      roundHash,
      learningRate: plan.aggregation.serverLearningRate,
      giveTurn: async () => {},
    });
    published = found.next;
    measures = Object.fromEntries(found.measures.map(({ name, value }) => [name, value]));
    local = meanOf(accuracies);
    onRound?.(index + 1);
  }
  const accuracyOf = async (parameters: Float32Array) =>
    (await evaluate({ model: measured, parameters, source: test })).accuracy;
  const personal: number[] = [];
  for (const values of own) personal.push(await accuracyOf(personalised(exchange, published, values)));
  const outcome = { published: await accuracyOf(published), personalised: meanOf(personal), local };
  beside.dispose();
  return { ...outcome, updateBytes: 4 * exchange.uploaded.dim, measures };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
