/** One step of AdamW, four values at a time; the equation stands in `../adam-step.ts`. */
import { type FunctionSpecification, i32, type Local, multiplyAdd, v128, whileLoop } from './assembler.ts';

type Ten<Item> = [Item, Item, Item, Item, Item, Item, Item, Item, Item, Item];

/**
 * Takes the addresses of parameters, gradient, both moments and the result, which may be that of the parameters; a count, of which what is left over
 * four is not touched; then the numbers of `AdamNumbers` in their order.
 */
export function adamFunction(relaxed: boolean): FunctionSpecification {
  const fused = multiplyAdd(relaxed);
  const numbers = 9;
  return {
    name: 'adam',
    parameters: [
      ...Array.from({ length: 6 }, () => 'i32' as const),
      ...Array.from({ length: numbers }, () => 'f32' as const),
    ],
    body: (frame, ...all) => {
      const [w, g, m, v, out, count] = all as Ten<Local>;
      const spread = all.slice(6).map((given) => ({ given, own: frame.local('v128') }));
      const [clip, beta1, share1, beta2, share2, root, epsilon, rate, decay] = spread.map(({ own }) => own.get) as Ten<
        Local['get']
      >;
      const [gradient, first, second, old] = [0, 1, 2, 3].map(() => frame.local('v128')) as Ten<Local>;
      const step = v128.multiply(rate, v128.divide(first.get, fused(v128.root(second.get), root, epsilon)));
      return [
        ...spread.flatMap(({ given, own }) => own.set(v128.splat(given.get))),
        ...whileLoop(i32.isAtLeast(count.get, i32.constant(4)), [
          ...gradient.set(v128.multiply(v128.load(g.get), clip)),
          ...first.set(fused(v128.load(m.get), beta1, v128.multiply(gradient.get, share1))),
          ...second.set(
            fused(v128.load(v.get), beta2, v128.multiply(v128.multiply(gradient.get, gradient.get), share2)),
          ),
          ...old.set(v128.load(w.get)),
          ...v128.store(m.get, first.get),
          ...v128.store(v.get, second.get),
          ...v128.store(out.get, v128.subtract(old.get, fused(old.get, decay, step))),
          ...[w, g, m, v, out].flatMap((address) => address.move(16)),
          ...count.set(i32.subtract(count.get, i32.constant(4))),
        ]),
      ];
    },
  };
}
