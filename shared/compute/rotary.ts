/**
 * Rotary positions (Su 2021) in the order of Hugging Face: value i of a head and value i + headSize / 2 are one pair, which the token at
 * position p turns by p ω_i with ω_i = θ^(−2i / headSize). A rotation's gradient is the rotation back.
 *
 * Llama 3 stretches slow rotations so that they cover longer texts: wavelengths beyond `original / low` are slowed down by `factor`, those
 * below `original / high` are kept, and between the two it goes over smoothly.
 */
import {
  add,
  matMul,
  mul,
  reshape,
  sub,
  type Tensor2D,
  type Tensor3D,
  tensor2d,
  tensor3d,
} from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';

/** The stretching of Llama 3. */
export interface RotaryStretch {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  /** Positions of the model before it was stretched. */
  readonly originalPositions: number;
}

/** ω for every pair of a head, `headSize / 2` numbers, in radians per position. */
export function rotaryFrequencies(headSize: number, theta: number, stretch: RotaryStretch | null): Float64Array {
  const frequencies = Float64Array.from({ length: headSize / 2 }, (_, pair) => theta ** ((-2 * pair) / headSize));
  return stretch === null ? frequencies : frequencies.map((frequency) => stretched(frequency, stretch));
}

function stretched(
  frequency: number,
  { factor, lowFrequencyFactor, highFrequencyFactor, originalPositions }: RotaryStretch,
): number {
  const turns = (originalPositions * frequency) / (2 * Math.PI);
  if (turns < lowFrequencyFactor) return frequency / factor;
  if (turns > highFrequencyFactor) return frequency;
  const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return (1 - kept) * (frequency / factor) + kept * frequency;
}

/** How the tokens of a stretch of positions are turned. */
export interface Rotation {
  /** `[sequence, 1, headSize]`, both halves alike. */
  readonly cosines: Tensor3D;
  readonly sines: Tensor3D;
  /** The quarter turn (x₁, x₂) → (−x₂, x₁) of the halves of a head as a matrix `[headSize, headSize]`: a small product costs less than cuts. */
  readonly quarterTurn: Tensor2D;
}

/** The rotation of `length` positions from `start` on. */
export function rotationOf(frequencies: Float64Array, start: number, length: number): Rotation {
  const half = frequencies.length;
  const headSize = 2 * half;
  const tableOf = (component: (angle: number) => number): Tensor3D => {
    const values = new Float32Array(length * headSize);
    for (let index = 0; index < values.length; index++) {
      const position = start + Math.floor(index / headSize);
      values[index] = component(position * frequencies[index % half]!);
    }
    return tensor3d(values, [length, 1, headSize]);
  };
  const turn = new Float32Array(headSize * headSize);
  for (let pair = 0; pair < half; pair++) {
    turn[(pair + half) * headSize + pair] = -1;
    turn[pair * headSize + pair + half] = 1;
  }
  return { cosines: tableOf(Math.cos), sines: tableOf(Math.sin), quarterTurn: tensor2d(turn, [headSize, headSize]) };
}

/** Turns every head of `[batch * sequence, heads * headSize]`; the sequence is as long as the rotation. */
export function rotate(rows: Tensor2D, { cosines, sines, quarterTurn }: Rotation): Tensor2D {
  return withGradient([rows], (input: Tensor2D) => ({
    value: turned(input, { cosines, sines, quarterTurn }, add),
    saved: [cosines, sines, quarterTurn],
    backward: (upstream: Tensor2D, saved) => {
      const [keptCosines, keptSines, keptTurn] = saved as [Tensor3D, Tensor3D, Tensor2D];
      return [turned(upstream, { cosines: keptCosines, sines: keptSines, quarterTurn: keptTurn }, sub)];
    },
  }));
}

/** x cos ± (quarter turn of x) sin: forward with a sum, back with a difference. */
function turned(input: Tensor2D, { cosines, sines, quarterTurn }: Rotation, combine: typeof add): Tensor2D {
  const [sequenceLength, , headSize] = cosines.shape;
  const heads: Tensor2D = reshape(input, [-1, headSize]);
  const split = [input.shape[0] / sequenceLength, sequenceLength, input.shape[1] / headSize, headSize];
  const along = mul(reshape(heads, split), cosines);
  const across = mul(reshape(matMul(heads, quarterTurn), split), sines);
  return reshape(combine(along, across), input.shape);
}
