/** Sixteen-bit floats as float32, four at a time, exactly. Kernels take the addresses of both and a count, of which a multiple of four is computed. */
import { type Code, type Frame, type FunctionSpecification, i32, type Local, v128, whileLoop } from './assembler.ts';

/** The number whose float32 bits these are. */
const ofBits = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;

/** What a half's exponent lacks to that of a float32: 127 - 15. */
const exponentScale = 2 ** 112;
/** The highest number of binary16; above, with exponents put right, are those that are infinite or no numbers. */
const float16Max = 65504;

/** How four values are widened: what is computed first, and the result. */
interface Widened {
  readonly before: Code;
  readonly value: Code;
}

/** Kernels that widen. */
export function wideningFunctions(): readonly FunctionSpecification[] {
  const widening = (name: string, widened: (frame: Frame, half: Local) => Widened): FunctionSpecification => ({
    name,
    parameters: ['i32', 'i32', 'i32'],
    body: (frame, ...all) => {
      const [from, to, count] = all as [Local, Local, Local];
      const half = frame.local('v128');
      const { before, value } = widened(frame, half);
      return whileLoop(i32.isAtLeast(count.get, i32.constant(4)), [
        ...half.set(v128.loadHalves(from.get)),
        ...before,
        ...v128.store(to.get, value),
        ...from.move(8),
        ...to.move(16),
        ...count.set(i32.subtract(count.get, i32.constant(4))),
      ]);
    },
  });
  return [
    widening('widen bfloat16', (_, half) => ({ before: [], value: v128.shiftBitsLeft(half.get, 16) })),
    widening('widen float16', ({ constant, local }, half) => {
      const magnitude = local('v128');
      const bits = v128.shiftBitsLeft(v128.and(half.get, constant(ofBits(0x7fff))), 13);
      const sign = v128.shiftBitsLeft(v128.and(half.get, constant(ofBits(0x8000))), 16);
      const beyond = v128.isBelow(constant(float16Max), magnitude.get);
      const exponent = v128.and(beyond, constant(Number.POSITIVE_INFINITY));
      return {
        before: magnitude.set(v128.multiply(bits, constant(exponentScale))),
        value: v128.or(v128.or(magnitude.get, exponent), sign),
      };
    }),
  ];
}
