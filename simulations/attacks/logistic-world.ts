/**
 * A small world for attacks: clients with rows of the same distribution train a logistic regression together, some of them send what an
 * attack says. Everything is drawn from one seed.
 */

import { rejectedGroups } from '../../coordinator/aggregation/robust/groups.ts';
import type { RobustRule } from '../../coordinator/aggregation/robust/rule.ts';
import { heldVectors } from '../../coordinator/aggregation/robust/vectors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { type SeededRandom, seededRandom } from '../../shared/core/random.ts';
import { type AttackName, attacks } from './attacks.ts';

const [classCount, featureCount] = [4, 12];
/** Parameters: a kernel and a bias. */
const dim = classCount * (featureCount + 1);
const [rowsPerClient, testRows, roundCount, localSteps, learningRate] = [24, 400, 8, 2, 0.7];

interface Row {
  readonly features: Float64Array;
  readonly label: number;
}

/** What is attacked, and how. */
export interface WorldOptions {
  readonly clientCount: number;
  readonly hostileCount: number;
  /** null: nobody is hostile. */
  readonly attack: AttackName | null;
  readonly rule: RobustRule;
  /** Where updates are masked in groups: members of a group, and the norm to which honest clients cut theirs. */
  readonly groups?: { readonly size: number; readonly clipNorm: number };
  readonly simulationSeed?: number;
}

/** Accuracy on rows that nobody trained on, after all rounds. */
export async function accuracyUnder(options: WorldOptions): Promise<number> {
  const { clientCount, hostileCount, attack, rule, groups, simulationSeed = 1 } = options;
  const random = seededRandom(simulationSeed, 'attacks');
  const centres = Array.from({ length: classCount }, () => vectorOf(random, 1.1));
  const rowsOf = (count: number, from: SeededRandom): Row[] =>
    Array.from({ length: count }, () => {
      const label = from.integer(classCount);
      return { label, features: centres[label]!.map((centre) => centre + from.normal()) };
    });
  const clients = Array.from({ length: clientCount }, (_, index) => rowsOf(rowsPerClient, random.fork('rows', index)));
  const root = rowsOf(rowsPerClient, random.fork('root'));
  const test = rowsOf(testRows, random.fork('test'));
  const model = new Float64Array(dim);
  const state = rule.init(dim);
  const flip = ({ features, label }: Row): Row => ({ features, label: classCount - 1 - label });
  for (let round = 0; round < roundCount; round++) {
    const drawn = random.fork('round', round);
    const roundHash = Array.from({ length: 8 }, () =>
      drawn
        .integer(2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    ).join('');
    const hostile = attack === null ? 0 : hostileCount;
    const honest = clients.slice(hostile).map((rows) => trained(model, rows));
    const flipped = trained(model, clients[0]!.map(flip));
    const sent =
      attack === null
        ? []
        : attacks[attack]({
            honest,
            flipped,
            hostileCount: hostile,
            random: drawn.fork('attack'),
          });
    const all = [...sent, ...honest];
    const vectors = groups === undefined ? all : groupMeans(all, groups, hostile, drawn.fork('groups'));
    const sentCount = groups === undefined ? all.length : Math.floor(all.length / groups.size);
    const step = await rule.update(state, heldVectors(vectors), {
      roundHash: roundHash as Digest,
      root: trained(model, root),
      removedCount: sentCount - vectors.length,
    });
    for (const [index, change] of step.entries()) model[index]! += change;
  }
  return test.filter(({ features, label }) => best(scoresOf(model, features)) === label).length / testRows;
}

/** Means of random groups in which the honest keep to the norm, without those that cannot be honest. */
function groupMeans(
  all: readonly Float64Array[],
  { size, clipNorm }: NonNullable<WorldOptions['groups']>,
  hostileCount: number,
  random: SeededRandom,
): Float64Array[] {
  const kept = all.map((vector, index) => {
    const norm = Math.hypot(...vector);
    return index < hostileCount || norm <= clipNorm ? vector : vector.map((value) => (value * clipNorm) / norm);
  });
  const order = random.shuffle(kept.map((_, index) => index));
  const means = Array.from({ length: Math.floor(all.length / size) }, (_, group) => {
    const members = order.slice(group * size, (group + 1) * size);
    return kept[0]!.map((_value, index) => members.reduce((sum, member) => sum + kept[member]![index]!, 0) / size);
  });
  const rejected = new Set(rejectedGroups(means, clipNorm));
  return means.filter((_, index) => !rejected.has(index));
}

const vectorOf = (random: SeededRandom, deviation: number): Float64Array =>
  Float64Array.from({ length: featureCount }, () => deviation * random.normal());

function scoresOf(model: Float64Array, features: Float64Array): Float64Array {
  const scores = new Float64Array(classCount);
  for (let label = 0; label < classCount; label++) {
    const start = label * (featureCount + 1);
    let sum = model[start + featureCount]!;
    for (let index = 0; index < featureCount; index++) sum += features[index]! * model[start + index]!;
    scores[label] = sum;
  }
  return scores;
}

const best = (scores: Float64Array): number => scores.indexOf(Math.max(...scores));

/** The delta of a few steps of gradient descent over all rows. */
function trained(model: Float64Array, rows: readonly Row[]): Float64Array {
  const own = model.slice();
  for (let step = 0; step < localSteps; step++) {
    const gradient = new Float64Array(dim);
    for (const { features, label } of rows) {
      const scores = scoresOf(own, features);
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let index = 0; index < classCount; index++) {
        const error = (weights[index]! / total - (index === label ? 1 : 0)) / rows.length;
        const start = index * (featureCount + 1);
        for (let place = 0; place < featureCount; place++) gradient[start + place]! += error * features[place]!;
        gradient[start + featureCount]! += error;
      }
    }
    for (let index = 0; index < dim; index++) own[index]! -= learningRate * gradient[index]!;
  }
  return own.map((value, index) => value - model[index]!);
}
