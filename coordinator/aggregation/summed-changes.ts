/** Thin factors of a summed change of a map, from its dense mean or from its sketches: what the rules `dense` and `sketch` read. */
import { assert } from '../../shared/core/assert.ts';
import type { ExchangedPair } from '../../shared/update/exchange.ts';
import { addColumn, dot, leastSquares, type ThinFactors, thinQr } from '../../shared/update/linear-algebra.ts';
import { randomSigns, sketchMatrix } from '../../shared/update/sketch.ts';
import type { PairMeasure, PairRound } from './pair-round.ts';
import { column } from './thin-pairs.ts';

/** A mean of dense changes as thin factors: its columns span at most (clients + 1) r ranks, which random combinations of them find. */
export function denseFactors(
  { name, trained, uploaded }: ExchangedPair,
  { mean, clientCount, roundHash }: PairRound,
): ThinFactors {
  const { inSize, outSize, rank } = trained;
  const { offset } = uploaded[0]!;
  const row = (index: number): Float64Array => mean.subarray(offset + index * inSize, offset + (index + 1) * inSize);
  const rows = Array.from({ length: outSize }, (_, index) => row(index));
  const width = (clientCount + 1) * rank;
  if (width >= outSize || width >= inSize) {
    const units = rows.map((_, index) => column(outSize, (place) => (place === index ? 1 : 0)));
    return { left: units, right: rows };
  }
  const signs = randomSigns({ roundHash, pairName: name, side: 'outer' }, width, inSize);
  const range = Array.from({ length: width }, (_, index) => {
    const combination = signs.subarray(index * inSize, (index + 1) * inSize);
    return Float64Array.from(rows, (values) => dot(values, combination));
  });
  const { q } = thinQr(range);
  const right = q.map((unit) => {
    const sum = new Float64Array(inSize);
    for (const [index, values] of rows.entries()) addColumn(sum, values, unit[index]!);
    return sum;
  });
  return { left: q, right };
}

/** The change D from its mean sketches Y = D Ω and Z = Ψᵀ D: with Y = Q R, D = Q X for the X that makes Ψᵀ Q X = Z (Tropp 2017, algorithm 4). */
export function sketchedFactors(
  { name, trained, uploaded }: ExchangedPair,
  { mean, roundHash }: PairRound,
): PairMeasure & { readonly change: ThinFactors } {
  const { inSize, outSize } = trained;
  const [left, right] = uploaded;
  assert(left !== undefined && right !== undefined, 'both sketches were uploaded');
  const [outer, inner] = [left.shape[1]!, right.shape[0]!];
  const y = Array.from({ length: outer }, (_, index) =>
    column(outSize, (row) => mean[left.offset + row * outer + index]!),
  );
  const { q } = thinQr(y);
  const psi = sketchMatrix({ roundHash, pairName: name, side: 'inner' }, outSize, inner);
  const psiQ = q.map((unit) => {
    const sum = new Float64Array(inner);
    for (let row = 0; row < outSize; row++) addColumn(sum, psi.subarray(row * inner, (row + 1) * inner), unit[row]!);
    return sum;
  });
  const z = Array.from({ length: inSize }, (_, place) =>
    column(inner, (index) => mean[right.offset + index * inSize + place]!),
  );
  const x = q.length === 0 ? z.map(() => new Float64Array(0)) : leastSquares(psiQ, z);
  let [missed, whole] = [0, 0];
  for (const [place, found] of z.entries()) {
    const rest = found.slice();
    for (const [index, weight] of x[place]!.entries()) addColumn(rest, psiQ[index]!, -weight);
    missed += dot(rest, rest);
    whole += dot(found, found);
  }
  return {
    change: { left: q, right: q.map((_, index) => Float64Array.from(x, (weights) => weights[index]!)) },
    sketch: { missed, whole },
  };
}
