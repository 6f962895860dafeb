/** Norms over rows and their gradients, four values at a time; the equations stand in `../layer-norm.ts` and `../rms-norm.ts`. */
import {
  type Code,
  type Frame,
  type FunctionSpecification,
  f32,
  i32,
  type Local,
  multiplyAdd,
  v128,
  whileLoop,
} from './assembler.ts';

/** A pass over the values of a row: vectors at `addresses`, each moved on by four values. */
function overRow(addresses: readonly Local[], end: Code, body: Code): Code {
  return whileLoop(i32.isBelow(addresses[0]!.get, end), [...body, ...addresses.flatMap((address) => address.move(16))]);
}

/** Kernels of norms; rows have a multiple of four values; `relaxed` as {@link multiplyAdd} has it. */
export function normFunctions(relaxed: boolean): readonly FunctionSpecification[] {
  const fused = multiplyAdd(relaxed);
  const numbers = (frame: Frame, type: 'i32' | 'f32' | 'v128', count: number) =>
    Array.from({ length: count }, () => frame.local(type));
  /** Runs `row` for every row: its first address and its end are set; addresses in `moving` go on by a row, those in `statistics` by a value. */
  const overRows = (
    {
      rowCount,
      bytes,
      moving,
      statistics,
    }: {
      readonly rowCount: Local;
      readonly bytes: Local;
      readonly moving: readonly Local[];
      readonly statistics: readonly Local[];
    },
    row: Code,
  ): Code =>
    whileLoop(rowCount.get, [
      ...row,
      ...moving.flatMap((address) => address.set(i32.add(address.get, bytes.get))),
      ...statistics.flatMap((address) => address.move(4)),
      ...rowCount.set(i32.subtract(rowCount.get, i32.constant(1))),
    ]);
  const zero = v128.constant(0);

  const layerNorm: FunctionSpecification = {
    name: 'layer norm',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'f32'],
    body: (frame, ...all) => {
      const [x, gain, bias, y, means, inverses, rowCount, bytes, epsilon] = all as [
        ...[Local, Local, Local, Local, Local, Local, Local, Local, Local],
      ];
      const [at, out, gainAt, biasAt, end] = numbers(frame, 'i32', 5) as [Local, Local, Local, Local, Local];
      const [sums, mean, inverse, centred] = numbers(frame, 'v128', 4) as [Local, Local, Local, Local];
      const size = frame.local('f32');
      const load = v128.load(at.get);
      return [
        ...size.set(f32.multiply(f32.ofWhole(bytes.get), f32.constant(0.25))),
        ...overRows({ rowCount, bytes, moving: [x, y], statistics: [means, inverses] }, [
          ...end.set(i32.add(x.get, bytes.get)),
          ...at.set(x.get),
          ...sums.set(zero),
          ...overRow([at], end.get, sums.set(v128.add(sums.get, load))),
          ...mean.set(v128.splat(f32.divide(v128.sum(sums.get), size.get))),
          ...at.set(x.get),
          ...sums.set(zero),
          ...overRow([at], end.get, [
            ...centred.set(v128.subtract(load, mean.get)),
            ...sums.set(fused(centred.get, centred.get, sums.get)),
          ]),
          ...inverse.set(
            v128.splat(
              f32.divide(f32.constant(1), f32.root(f32.add(f32.divide(v128.sum(sums.get), size.get), epsilon.get))),
            ),
          ),
          ...f32.store(means.get, v128.first(mean.get)),
          ...f32.store(inverses.get, v128.first(inverse.get)),
          ...at.set(x.get),
          ...out.set(y.get),
          ...gainAt.set(gain.get),
          ...biasAt.set(bias.get),
          ...overRow(
            [at, out, gainAt, biasAt],
            end.get,
            v128.store(
              out.get,
              fused(
                v128.multiply(v128.subtract(load, mean.get), inverse.get),
                v128.load(gainAt.get),
                v128.load(biasAt.get),
              ),
            ),
          ),
        ]),
      ];
    },
  };

  const layerNormGradient: FunctionSpecification = {
    name: 'layer norm gradient',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    body: (frame, ...all) => {
      const [x, gain, upstream, means, inverses, result, rowCount, bytes] = all as [
        ...[Local, Local, Local, Local, Local, Local, Local, Local],
      ];
      const [at, upAt, gainAt, out, end] = numbers(frame, 'i32', 5) as [Local, Local, Local, Local, Local];
      const [mean, inverse, sums, along, g] = numbers(frame, 'v128', 5) as [Local, Local, Local, Local, Local];
      const size = frame.local('f32');
      const centred = v128.subtract(v128.load(at.get), mean.get);
      const start = [...at.set(x.get), ...upAt.set(upstream.get), ...gainAt.set(gain.get)];
      const readG = g.set(v128.multiply(v128.load(upAt.get), v128.load(gainAt.get)));
      return [
        ...size.set(f32.multiply(f32.ofWhole(bytes.get), f32.constant(0.25))),
        ...overRows({ rowCount, bytes, moving: [x, upstream, result], statistics: [means, inverses] }, [
          ...end.set(i32.add(x.get, bytes.get)),
          ...mean.set(v128.loadSplat(means.get)),
          ...inverse.set(v128.loadSplat(inverses.get)),
          ...sums.set(zero),
          ...along.set(zero),
          ...start,
          ...overRow([at, upAt, gainAt], end.get, [
            ...readG,
            ...sums.set(v128.add(sums.get, g.get)),
            ...along.set(fused(g.get, centred, along.get)),
          ]),
          // From here on the mean of g, and the slope along x.
          ...sums.set(v128.splat(f32.divide(v128.sum(sums.get), size.get))),
          ...along.set(
            v128.multiply(
              v128.multiply(v128.splat(f32.divide(v128.sum(along.get), size.get)), inverse.get),
              inverse.get,
            ),
          ),
          ...start,
          ...out.set(result.get),
          ...overRow([at, upAt, gainAt, out], end.get, [
            ...readG,
            ...v128.store(
              out.get,
              v128.multiply(
                v128.subtract(v128.subtract(g.get, sums.get), v128.multiply(centred, along.get)),
                inverse.get,
              ),
            ),
          ]),
        ]),
      ];
    },
  };

  const rmsNorm: FunctionSpecification = {
    name: 'rms norm',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'f32'],
    body: (frame, ...all) => {
      const [x, gain, y, inverses, rowCount, bytes, epsilon] = all as [
        ...[Local, Local, Local, Local, Local, Local, Local],
      ];
      const [at, out, gainAt, end] = numbers(frame, 'i32', 4) as [Local, Local, Local, Local];
      const [sums, inverse] = numbers(frame, 'v128', 2) as [Local, Local];
      const size = frame.local('f32');
      const load = v128.load(at.get);
      return [
        ...size.set(f32.multiply(f32.ofWhole(bytes.get), f32.constant(0.25))),
        ...overRows({ rowCount, bytes, moving: [x, y], statistics: [inverses] }, [
          ...end.set(i32.add(x.get, bytes.get)),
          ...at.set(x.get),
          ...sums.set(zero),
          ...overRow([at], end.get, sums.set(fused(load, load, sums.get))),
          ...inverse.set(
            v128.splat(
              f32.divide(f32.constant(1), f32.root(f32.add(f32.divide(v128.sum(sums.get), size.get), epsilon.get))),
            ),
          ),
          ...f32.store(inverses.get, v128.first(inverse.get)),
          ...at.set(x.get),
          ...out.set(y.get),
          ...gainAt.set(gain.get),
          ...overRow(
            [at, out, gainAt],
            end.get,
            v128.store(out.get, v128.multiply(v128.multiply(load, inverse.get), v128.load(gainAt.get))),
          ),
        ]),
      ];
    },
  };

  const rmsNormGradient: FunctionSpecification = {
    name: 'rms norm gradient',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    body: (frame, ...all) => {
      const [x, gain, upstream, inverses, result, rowCount, bytes] = all as [
        ...[Local, Local, Local, Local, Local, Local, Local],
      ];
      const [at, upAt, gainAt, out, end] = numbers(frame, 'i32', 5) as [Local, Local, Local, Local, Local];
      const [inverse, along, g] = numbers(frame, 'v128', 3) as [Local, Local, Local];
      const size = frame.local('f32');
      const start = [...at.set(x.get), ...upAt.set(upstream.get), ...gainAt.set(gain.get)];
      const readG = g.set(v128.multiply(v128.load(upAt.get), v128.load(gainAt.get)));
      return [
        ...size.set(f32.multiply(f32.ofWhole(bytes.get), f32.constant(0.25))),
        ...overRows({ rowCount, bytes, moving: [x, upstream, result], statistics: [inverses] }, [
          ...end.set(i32.add(x.get, bytes.get)),
          ...inverse.set(v128.loadSplat(inverses.get)),
          ...along.set(zero),
          ...start,
          ...overRow([at, upAt, gainAt], end.get, [...readG, ...along.set(fused(g.get, v128.load(at.get), along.get))]),
          ...along.set(
            v128.multiply(
              v128.multiply(v128.splat(f32.divide(v128.sum(along.get), size.get)), inverse.get),
              inverse.get,
            ),
          ),
          ...start,
          ...out.set(result.get),
          ...overRow([at, upAt, gainAt, out], end.get, [
            ...readG,
            ...v128.store(
              out.get,
              v128.multiply(v128.subtract(g.get, v128.multiply(v128.load(at.get), along.get)), inverse.get),
            ),
          ]),
        ]),
      ];
    },
  };
  return [layerNorm, layerNormGradient, rmsNorm, rmsNormGradient];
}
