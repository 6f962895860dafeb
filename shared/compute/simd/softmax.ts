/** The softmax over rows of any length, with the largest score and the largest share of every row. */
import { type Code, type FunctionSpecification, f32, i32, type Local, v128, whileLoop } from './assembler.ts';
import { exponential } from './pointwise.ts';

/** Below this the exponential is 0. */
const exponentMin = -87;

/**
 * Takes the addresses of scores, of shares, of each row's largest score and of its largest share; the number of rows, and the bytes of one. What is not a
 * number, or the highest number there is, makes its whole row not a number.
 */
export function softmaxFunction(relaxed: boolean): FunctionSpecification {
  return {
    name: 'softmax of rows',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    body: (frame, ...all) => {
      const [x, y, largest, shares, rowCount, bytes] = all as [Local, Local, Local, Local, Local, Local];
      const [at, out, end] = [frame.local('i32'), frame.local('i32'), frame.local('i32')];
      const [highest, sums, value, share] = [0, 1, 2, 3].map(() => frame.local('v128')) as [Local, Local, Local, Local];
      const total = frame.local('f32');
      const { before, value: power } = exponential(frame, relaxed)(value.get);
      const exp = [...before, ...value.set(v128.unless(power, v128.isBelow(value.get, frame.constant(exponentMin))))];
      /** Vectors of the row at `addresses`, then what is left of it one by one. */
      const overRow = (addresses: readonly Local[], vectors: Code, single: Code): Code => {
        const first = addresses[0]!.get;
        const moved = (size: number): Code => addresses.flatMap((address) => address.move(size));
        return [
          ...whileLoop(i32.isBelow(i32.add(first, i32.constant(12)), end.get), [...vectors, ...moved(16)]),
          ...whileLoop(i32.isBelow(first, end.get), [...single, ...moved(4)]),
        ];
      };
      const startAt = (address: Local, from: Local): Code => [
        ...address.set(from.get),
        ...end.set(i32.add(from.get, bytes.get)),
      ];
      const higher = (loaded: Code): Code => highest.set(v128.higher(loaded, highest.get));
      return whileLoop(rowCount.get, [
        ...startAt(at, x),
        ...highest.set(v128.constant(Number.NEGATIVE_INFINITY)),
        ...overRow([at], higher(v128.load(at.get)), higher(v128.loadSplat(at.get))),
        ...highest.set(v128.splat(v128.highest(highest.get))),
        ...startAt(at, x),
        ...out.set(y.get),
        ...sums.set(v128.constant(0)),
        ...total.set(f32.constant(0)),
        ...overRow(
          [at, out],
          [
            ...value.set(v128.subtract(v128.load(at.get), highest.get)),
            ...exp,
            ...sums.set(v128.add(sums.get, value.get)),
            ...v128.store(out.get, value.get),
          ],
          [
            ...value.set(v128.subtract(v128.loadSplat(at.get), highest.get)),
            ...exp,
            ...total.set(f32.add(total.get, v128.first(value.get))),
            ...f32.store(out.get, v128.first(value.get)),
          ],
        ),
        ...share.set(v128.splat(f32.divide(f32.constant(1), f32.add(total.get, v128.sum(sums.get))))),
        ...startAt(out, y),
        ...overRow(
          [out],
          v128.store(out.get, v128.multiply(v128.load(out.get), share.get)),
          f32.store(out.get, f32.multiply(f32.load(out.get), v128.first(share.get))),
        ),
        ...f32.store(largest.get, v128.first(highest.get)),
        ...f32.store(shares.get, v128.first(share.get)),
        ...[x, y].flatMap((address) => address.set(i32.add(address.get, bytes.get))),
        ...[largest, shares].flatMap((address) => address.move(4)),
        ...rowCount.set(i32.subtract(rowCount.get, i32.constant(1))),
      ]);
    },
  };
}
