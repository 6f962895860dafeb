/** Float32 as bytes of a narrower type, rounded to the nearest value and from halves to even ones, as the published tools do. */
import { UsageError } from '../../core/errors.ts';

/** Types of values that are written. */
export type WrittenType = 'F32' | 'F16' | 'BF16';

/** Names of {@link WrittenType}. */
export const writtenTypes: readonly WrittenType[] = ['F32', 'F16', 'BF16'];

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

/** Bits of a float32 as bfloat16. */
function bfloat16Of(value: number): number {
  word[0] = value;
  const whole = bits[0]!;
  if (Number.isNaN(value)) return (whole >>> 16) | 0x40;
  // A carry goes into the exponent, up to infinity, as it should.
  return ((whole + 0x7fff + ((whole >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Bits of a float32 as float16. */
function float16Of(value: number): number {
  word[0] = value;
  const whole = bits[0]!;
  const sign = (whole >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below the smallest normal number values are whole multiples of 2⁻²⁴.
  if (magnitude < 2 ** -14) return sign | roundHalfEven(magnitude * 2 ** 24);
  const rebased = (whole & 0x7fffffff) - (112 << 23);
  return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/**
 * Bytes of `values` in a type.
 * @throws UsageError `value-too-large` when a finite value of the tensor `name` has none in it.
 */
export function narrowBytes(values: Float32Array, type: WrittenType, name: string): Uint8Array {
  if (type === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const halves = new Uint16Array(values.length);
  const [convert, infinity] = type === 'F16' ? [float16Of, 0x7c00] : [bfloat16Of, 0x7f80];
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    const half = convert(value);
    if ((half & 0x7fff) === infinity && Number.isFinite(value)) {
      throw new UsageError(
        'value-too-large',
        `${name} has the value ${value}, which ${type} cannot hold; write another type with --dtype F32${type === 'F16' ? ' or BF16' : ''}`,
      );
    }
    halves[index] = half;
  }
  return new Uint8Array(halves.buffer);
}
