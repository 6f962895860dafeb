/**
 * One cell of the table of attacks: twenty clients with rows of clinc150 train an adapter on the base that ships; some of them send what the attack
 * says. Training, rules and the judgement of the gate are those of the product; enrolment, signatures and transfer, which change nothing here,
 * are left out.
 */
import { robustRuleOf } from '../../coordinator/aggregation/robust/robust-rules.ts';
import type { RobustRule } from '../../coordinator/aggregation/robust/rule.ts';
import { heldVectors } from '../../coordinator/aggregation/robust/vectors.ts';
import { plainMean } from '../../coordinator/aggregation/robust/views.ts';
import { judgeCandidate } from '../../coordinator/canary/judge.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import { trainClients } from '../../shared/training/train-together.ts';
import { firstNonFinite } from '../../shared/update/vector.ts';
import type { CellProgress } from '../experiments/run-cell.ts';
import { type AttackName, attacks, replacement } from './attacks.ts';
import type { AttackCell, AttackResult } from './table-cells.ts';
import { type AttackRows, openAttackRows } from './table-rows.ts';
import { gateDrop, hostileToldOf } from './table-settings.ts';

/** What {@link runAttackCell} needs. */
export interface AttackCellOptions {
  readonly cell: AttackCell;
  /** The data directory. */
  readonly folder: string;
  readonly base: LoadedBase;
  readonly onProgress: (progress: CellProgress) => void;
}

/** A client that trains, by a name of its own within a round. */
interface Trainee {
  readonly name: string;
  readonly source: ExampleSource;
}

/** Rows of the last seed, with what was trained from its start: every cell of a seed begins alike. */
let last: { readonly key: string; readonly rows: AttackRows; readonly first: Map<string, Float32Array> } | null = null;

/** The result of a cell. @throws as the readers and the training do. */
export async function runAttackCell({ cell, folder, base, onProgress }: AttackCellOptions): Promise<AttackResult> {
  const startedMs = performance.now();
  const { seed, split, settings, attack, method } = cell;
  const key = JSON.stringify([seed, split, settings]);
  if (last?.key !== key) last = { key, rows: await openAttackRows({ cell, folder, base }), first: new Map() };
  const { rows, first } = last;
  const { model, clients, root, canary, test, triggered } = rows;
  const { rounds, hostile: hostileCount, learningRate, localEpochs, batchSize } = settings;
  const configuration = { ...defaultTraining, localEpochs, batchSize, learningRate, schedule: 'linear' as const };
  const accuracyOf = async (parameters: Float32Array, source: ExampleSource): Promise<number> =>
    (await evaluate({ model, parameters, source })).accuracy;
  let adapter = model.initialise(seed);
  /** The updates of several clients, by name, in their order; those that begin a seed are known from the first cell on. */
  const train = async (asked: readonly Trainee[], index: number): Promise<Float64Array[]> => {
    const found = new Map(index === 0 ? first : []);
    const missing = asked.filter(({ name }) => !found.has(name));
    const trained = await trainClients({
      model,
      clients: missing.map(({ source }) => ({ start: adapter, source, seed: seed + index })),
      configuration,
      round: { index, count: rounds },
    });
    for (const [place, { delta }] of trained.entries()) {
      found.set(missing[place]!.name, delta);
      if (index === 0) first.set(missing[place]!.name, delta);
    }
    return asked.map(({ name }) => Float64Array.from(found.get(name)!));
  };
  const trainOne = async (name: string, source: ExampleSource, index: number): Promise<Float64Array> =>
    (await train([{ name, source }], index))[0]!;
  const trainees = clients.map((client, place): Trainee => ({ name: `honest ${place}`, source: client.rows }));
  const hostile = attack === 'none' ? 0 : hostileCount;
  const rule = await ruleFor(cell, async () => medianNorm(await train(trainees, 0)));
  const state = rule.init(adapter.length);
  const random = seededRandom(seed, 'attack-table');
  let before = method === 'gate' ? await accuracyOf(adapter, canary) : null;
  let voidRounds = 0;
  for (let index = 0; index < rounds; index++) {
    try {
      const honest = await train(trainees.slice(hostile), index);
      const sent = hostile === 0 ? [] : await attackWith(attack as Exclude<typeof attack, 'none'>, honest, index);
      const step = await rule.update(state, heldVectors([...sent.filter(isAdmitted), ...honest]), {
        roundHash: random
          .fork('round', index)
          .integer(2 ** 32)
          .toString(16)
          .padStart(64, '0') as Digest,
        root: method === 'fltrust' ? await trainOne('root', root, index) : null,
        removedCount: 0,
      });
      const candidate = Float32Array.from(adapter, (value, place) => value + step[place]!);
      if (before !== null) {
        const found = await accuracyOf(candidate, canary);
        if (judgeCandidate({ metric: 'accuracy', drop: gateDrop }, { candidate: found, before }) !== null) {
          voidRounds++;
          continue;
        }
        before = found;
      }
      adapter = candidate;
    } catch (thrown) {
      // The rule has no answer, or nobody can train from what an attack left.
      if (!(thrown instanceof FederationError)) throw thrown;
      voidRounds++;
    }
    onProgress({ done: index + 1, total: rounds, note: `${method} under ${attack}` });
  }
  return {
    cell,
    accuracy: await accuracyOf(adapter, test),
    backdoor: await accuracyOf(adapter, triggered),
    voidRounds,
    seconds: (performance.now() - startedMs) / 1000,
  };

  async function attackWith(
    name: Exclude<AttackCell['attack'], 'none'>,
    honest: readonly Float64Array[],
    index: number,
  ): Promise<Float64Array[]> {
    if (name !== 'backdoor-replacement' && name !== 'backdoor-in-norm') {
      const flipped =
        name === 'label-flip' || name === 'scaling-100' ? await trainOne('flipped', rows.flipped, index) : honest[0]!;
      const drawn = random.fork('attack', index);
      return attacks[name as AttackName]({ honest, flipped, hostileCount: hostile, random: drawn });
    }
    const poisoned = await trainOne('poisoned', rows.poisoned, index);
    const copies = (vector: Float64Array): Float64Array[] => Array.from({ length: hostile }, () => vector);
    if (name === 'backdoor-replacement')
      return copies(replacement(poisoned, { clientCount: clients.length, hostileCount: hostile }));
    const factor = medianNorm(honest) / Math.max(Math.hypot(...poisoned), 1e-12);
    return copies(poisoned.map((value) => value * factor));
  }
}

/** A coordinator refuses what is not finite before any rule sees it. */
function isAdmitted(update: Float64Array): boolean {
  return firstNonFinite(Float32Array.from(update)) === null;
}

/** The median length of updates. */
function medianNorm(updates: readonly Float64Array[]): number {
  const norms = updates.map((vector) => Math.hypot(...vector)).sort((left, right) => left - right);
  return norms[norms.length >> 1]!;
}

async function ruleFor({ method, settings }: AttackCell, norm: () => Promise<number>): Promise<RobustRule> {
  if (method === 'gate') return plainMean();
  const needsNorm = method === 'norm-clip' || method === 'centred-clip';
  const robustNorm = needsNorm ? settings.normFactor * (await norm()) : undefined;
  const named = { robust: method, hostileMax: hostileToldOf(method), bucketSize: 1 };
  return robustRuleOf(robustNorm === undefined ? named : { ...named, robustNorm }) ?? plainMean();
}
