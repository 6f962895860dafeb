/** Convolution of long sequences by the fast Fourier transform (Cooley, Tukey 1965), iterative, in float64. */
import { assert } from '../core/assert.ts';

/** Transforms `real` and `imaginary`, of the same length, a power of two, in place. The inverse is not divided by the length. */
function transform(real: Float64Array, imaginary: Float64Array, direction: 1 | -1): void {
  const { length } = real;
  assert(length === imaginary.length && (length & (length - 1)) === 0, 'a transform has a power of two of points');
  for (let index = 1, reversed = 0; index < length; index++) {
    let bit = length >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (index >= reversed) continue;
    [real[index], real[reversed]] = [real[reversed]!, real[index]!];
    [imaginary[index], imaginary[reversed]] = [imaginary[reversed]!, imaginary[index]!];
  }
  for (let size = 2; size <= length; size <<= 1) {
    const half = size >> 1;
    const angle = (-direction * 2 * Math.PI) / size;
    // One table a level: powers by repeated multiplication would lose digits.
    const cosines = Float64Array.from({ length: half }, (_, index) => Math.cos(angle * index));
    const sines = Float64Array.from({ length: half }, (_, index) => Math.sin(angle * index));
    for (let start = 0; start < length; start += size) {
      for (let offset = 0; offset < half; offset++) {
        const [even, odd] = [start + offset, start + offset + half];
        const [cosine, sine] = [cosines[offset]!, sines[offset]!];
        const [re, im] = [real[odd]!, imaginary[odd]!];
        const productRe = re * cosine - im * sine;
        const productIm = re * sine + im * cosine;
        real[odd] = real[even]! - productRe;
        imaginary[odd] = imaginary[even]! - productIm;
        real[even]! += productRe;
        imaginary[even]! += productIm;
      }
    }
  }
}

/** The convolution of two sequences of numbers that are not negative, `[left + right - 1]`; what rounding makes negative becomes zero. */
export function convolve(left: Float64Array, right: Float64Array): Float64Array {
  const outLength = left.length + right.length - 1;
  let length = 1;
  while (length < outLength) length <<= 1;
  // Both real sequences in one complex transform.
  const [real, imaginary] = [new Float64Array(length), new Float64Array(length)];
  real.set(left);
  imaginary.set(right);
  transform(real, imaginary, 1);
  const [productRe, productIm] = [new Float64Array(length), new Float64Array(length)];
  for (let index = 0; index < length; index++) {
    const mirror = (length - index) & (length - 1);
    const leftRe = (real[index]! + real[mirror]!) / 2;
    const leftIm = (imaginary[index]! - imaginary[mirror]!) / 2;
    const rightRe = (imaginary[index]! + imaginary[mirror]!) / 2;
    const rightIm = (real[mirror]! - real[index]!) / 2;
    productRe[index] = leftRe * rightRe - leftIm * rightIm;
    productIm[index] = leftRe * rightIm + leftIm * rightRe;
  }
  transform(productRe, productIm, -1);
  return Float64Array.from({ length: outLength }, (_, index) => Math.max(0, productRe[index]! / length));
}
