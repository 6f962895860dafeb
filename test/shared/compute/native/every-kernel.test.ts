/** Every kernel of the native back end against the plain one, on shapes drawn from seeds. */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { agree, operand, special } from './agree.ts';
import { requireNative } from './available.ts';
import { kernelCases } from './kernel-cases.ts';

describe('every kernel of the native back end', () => {
  before(async function () {
    requireNative(this);
    await useBackend('native');
  });
  after(() => useBackend('cpu'));

  it('[NEK-1] has a case here, and its name in the README: no kernel is registered that these leave out', async () => {
    await useBackend('cpu');
    const plain = new Map(tf.getKernelsForBackend('cpu').map((kernel) => [kernel.kernelName, kernel.kernelFunc]));
    const own = tf
      .getKernelsForBackend('native')
      .filter((kernel) => plain.get(kernel.kernelName) !== kernel.kernelFunc);
    const names = (all: readonly string[]): string[] => all.toSorted((a, b) => (a < b ? -1 : 1));
    assert.deepEqual(names(Object.keys(kernelCases)), names(own.map(({ kernelName }) => kernelName)));
    const readme = readFileSync(join(import.meta.dirname, '../../../../shared/compute/native/README.md'), 'utf8');
    const named = [...readme.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
    const isOfLibrary = (name: string): boolean => !name.startsWith('Tributary');
    assert.deepEqual(
      names(own.map(({ kernelName }) => kernelName).filter((name) => isOfLibrary(name) && !named.includes(name))),
      [],
    );
    assert.deepEqual(
      named.filter((name) => plain.has(name) && !Object.hasOwn(kernelCases, name)),
      [],
    );
  });

  for (const [name, draw] of Object.entries(kernelCases)) {
    it(`[NEK-2] ${name} gives what the plain back end gives: few values, many, none, not a number, not finite`, async () => {
      const random = seededRandom(17, name);
      for (const [extent, isSpecial, count] of [
        ['small', false, 4],
        ['large', false, 2],
        ['empty', false, 2],
        ['small', true, 4],
        ['large', true, 1],
      ] as const) {
        for (let turn = 0; turn < count; turn++) {
          const { operation, shapes, tolerance, isSensitive } = draw(random, extent);
          const among = isSensitive ? special.filter((value) => Math.abs(value) !== 1e30) : special;
          const operands = shapes.map((shape) => operand(random, shape, isSpecial ? among : []));
          const what = `${extent}${isSpecial ? ', special' : ''} [${shapes.map(String).join('] [')}]`;
          await agree(what, operation, operands, tolerance);
        }
      }
    });
  }
});
