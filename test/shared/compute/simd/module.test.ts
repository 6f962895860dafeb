import { strict as assert } from 'node:assert';
import { type VectorKernels, vectorKernels, vectorModule } from '../../../../shared/compute/simd/module.ts';
import { seededRandom } from '../../../../shared/core/random.ts';

const memory = new WebAssembly.Memory({ initial: 4 });
const values = new Float32Array(memory.buffer);
const variants = [true, false].map((relaxed): VectorKernels => {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(vectorModule(relaxed)), { env: { memory } });
  return exports as unknown as VectorKernels;
});
const counts = [4, 5, 6, 7, 8, 1027];

/** Φ in float64: the series of Abramowitz and Stegun 26.2.11, which converges everywhere, and the bound beyond 6. */
function distribution(x: number): number {
  if (Math.abs(x) > 6) return x > 0 ? 1 : 0;
  let [term, sum] = [x, x];
  for (let n = 3; Math.abs(term) > 1e-18; n += 2) sum += term = (term * x * x) / n;
  return 0.5 + density(x) * sum;
}
const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const tanhArgument = (x: number): number => 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
const tanhSlope = (x: number): number => 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x ** 2);

type Pointwise = readonly [inputs: number, reference: (...inputs: [number, number, number]) => readonly number[]];

const pointwise: Readonly<Record<string, Pointwise>> = {
  'gelu none': [1, (x) => [x * distribution(x)]],
  'gelu tanh': [1, (x) => [x * sigmoid(tanhArgument(x))]],
  'gelu gradient none': [2, (x, g) => [g * (distribution(x) + x * density(x))]],
  'gelu gradient tanh': [
    2,
    (x, g) => {
      const open = sigmoid(tanhArgument(x));
      return [g * (open + x * open * (1 - open) * tanhSlope(x))];
    },
  ],
  'gated silu': [2, (a, b) => [a * sigmoid(a) * b]],
  'gated silu gradient': [3, (a, b, g) => [g * b * sigmoid(a) * (1 + a * (1 - sigmoid(a))), g * a * sigmoid(a)]],
};

function drawn(name: string, size: number, scale = 1): Float32Array {
  const random = seededRandom(5, name);
  return Float32Array.from({ length: size }, () => scale * random.normal());
}

function assertNear(found: number, expected: number, what: string, tolerance = 2e-6): void {
  const isNear = Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected));
  assert.ok(isNear, `${what}: ${found}, expected ${expected}`);
}

describe('vector kernels', () => {
  for (const [name, [inputCount, reference]] of Object.entries(pointwise)) {
    it(`[SDM-1] ${name} is what float64 gives, for counts that are no multiple of four too, and writes nothing else`, () => {
      for (const kernels of variants) {
        for (const count of counts) {
          const inputs = Array.from({ length: inputCount }, (_, index) => drawn(`${name} ${index}`, count, 3));
          inputs[0]!.set([-40, 40, 0, -1e-20].slice(0, count));
          const outputCount = reference(0, 0, 0).length;
          values.fill(7);
          const starts = Array.from({ length: inputCount + outputCount }, (_, index) => 1040 * index);
          for (const [index, input] of inputs.entries()) values.set(input, starts[index]);
          kernels[name as 'gelu none'](...starts.map((start) => 4 * start), count);
          for (let index = 0; index < count; index++) {
            const [x = 0, y = 0, z = 0] = inputs.map((input) => input[index]!);
            for (const [output, expected] of reference(x, y, z).entries()) {
              const start = starts[inputCount + output]!;
              assertNear(values[start + index]!, expected, `${name} of ${x}, value ${index} of ${count}`, 4e-6);
            }
          }
          for (const start of starts.slice(inputCount)) assert.equal(values[start + count], 7);
        }
      }
    });
  }

  it('[SDM-2] what is not a number stays so', () => {
    for (const kernels of variants) {
      values.set([Number.NaN, 1, 2, 3]);
      kernels['gelu none'](0, 64, 4);
      assert.ok(Number.isNaN(values[16]));
      assertNear(values[17]!, distribution(1), 'its neighbour');
    }
  });

  it('[SDM-3] norms and their gradients are what float64 gives', () => {
    const [rowCount, size, epsilon] = [3, 20, 1e-3];
    const [x, upstream] = [drawn('x', rowCount * size, 4), drawn('upstream', rowCount * size)];
    const [gain, bias] = [drawn('gain', size), drawn('bias', size)];
    const place = { x: 0, upstream: 100, gain: 200, bias: 300, y: 400, means: 500, inverses: 600, dx: 700 };
    const at = Object.fromEntries(Object.entries(place).map(([name, start]) => [name, 4 * start])) as typeof place;
    for (const kernels of variants) {
      for (const isCentred of [true, false]) {
        for (const [name, own] of Object.entries({ x, upstream, gain, bias })) values.set(own, place[name as 'x']);
        if (isCentred) {
          kernels['layer norm'](at.x, at.gain, at.bias, at.y, at.means, at.inverses, rowCount, 4 * size, epsilon);
          kernels['layer norm gradient'](at.x, at.gain, at.upstream, at.means, at.inverses, at.dx, rowCount, 4 * size);
        } else {
          kernels['rms norm'](at.x, at.gain, at.y, at.inverses, rowCount, 4 * size, epsilon);
          kernels['rms norm gradient'](at.x, at.gain, at.upstream, at.inverses, at.dx, rowCount, 4 * size);
        }
        for (let row = 0; row < rowCount; row++) {
          const own = [...x.subarray(row * size, (row + 1) * size)];
          const mean = isCentred ? meanOf(own) : 0;
          const inverse = 1 / Math.sqrt(meanOf(own.map((value) => (value - mean) ** 2)) + epsilon);
          const g = own.map((_, index) => upstream[row * size + index]! * gain[index]!);
          const normed = own.map((value) => (value - mean) * inverse);
          const along = meanOf(g.map((value, index) => value * normed[index]!));
          for (let index = 0; index < size; index++) {
            const y = normed[index]! * gain[index]! + (isCentred ? bias[index]! : 0);
            assertNear(values[place.y + row * size + index]!, y, `y of ${row}, ${index}`, 1e-5);
            const slope = (g[index]! - (isCentred ? meanOf(g) : 0) - normed[index]! * along) * inverse;
            assertNear(values[place.dx + row * size + index]!, slope, `dx of ${row}, ${index}`, 1e-5);
          }
        }
      }
    }
  });

  it('[SDM-5] the softmax of rows of any length is what float64 gives, 0 where nothing is left, and writes nothing else', () => {
    for (const kernels of variants) {
      for (const size of [1, 3, 4, 6, 8, 23]) {
        const x = drawn(`softmax ${size}`, 2 * size, 20);
        x[size] = Number.NEGATIVE_INFINITY;
        if (size > 1) x[size + 1] = 300;
        values.fill(7);
        values.set(x);
        kernels['softmax of rows'](0, 4 * 100, 4 * 200, 4 * 300, 2, 4 * size);
        for (const row of size > 1 ? [0, 1] : [0]) {
          const own = [...x.subarray(row * size, (row + 1) * size)];
          const largest = Math.max(...own);
          const total = own.reduce((sum, score) => sum + Math.exp(score - largest), 0);
          for (const [index, score] of own.entries()) {
            const found = values[100 + row * size + index]!;
            assertNear(found, Math.exp(score - largest) / total, `share ${index} of ${size}`);
            if (score - largest < -87) assert.equal(found, 0);
          }
          assert.equal(values[200 + row], largest);
          assertNear(values[300 + row]!, 1 / total, `the largest share of ${size}`);
        }
        for (const end of [100 + 2 * size, 202, 302]) assert.equal(values[end], 7);
      }
    }
  });

  it('[SDM-4] this machine has them', () => {
    assert.ok(vectorKernels(memory) !== null);
  });
});

function meanOf(all: readonly number[]): number {
  return all.reduce((sum, value) => sum + value, 0) / all.length;
}
