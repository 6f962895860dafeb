import { strict as assert } from 'node:assert';
import { methodNames, parseAdapter } from '../../../shared/adapters/registry.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { layoutDigest, layoutOf } from '../../../shared/update/layout.ts';
import { bertLike } from './bases.ts';

const base = bertLike(2, 32, 64);

describe('adapter registry', () => {
  it('[REG-1] knows the methods by name', () => {
    assert.ok(['none', 'bottleneck', 'lora', 'stack', 'fuse'].every((method) => methodNames.includes(method)));
    const members = {
      members: [
        { id: 'a', method: 'bottleneck' },
        { id: 'b', method: 'bottleneck' },
      ],
      at: [3],
    };
    for (const method of methodNames) {
      const settings = ['stack', 'fuse', 'average', 'batch-split'].includes(method) ? { members: members.members } : {};
      assert.equal(parseAdapter({ method, ...(method === 'split' ? members : settings) }, base).method, method);
    }
  });

  it('[REG-2] an unknown method is named with the known ones and the nearest', () => {
    assert.throws(
      () => parseAdapter({ method: 'lorra' }, base),
      (error) =>
        error instanceof UsageError &&
        error.code === 'bad-adapter' &&
        /^adapter: method must be one of none, .* \(did you mean lora\?\), found "lorra"$/.test(error.message),
    );
  });

  it('[REG-3] no adapter has no tensors, no hooks and no settings', () => {
    const adapter = parseAdapter({ method: 'none' }, base);
    assert.deepEqual(adapter.tensors, []);
    assert.deepEqual(adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(1) }), {});
    assert.throws(() => parseAdapter({ method: 'none', rank: 4 }, base), /adapter none: rank is not a known field/);
  });

  it('[REG-4] the digests of layouts are frozen: clients of different versions agree on them or not at all', () => {
    const digest = (configuration: { method: string; [setting: string]: unknown }) =>
      layoutDigest(layoutOf(parseAdapter(configuration, base).tensors));
    assert.deepEqual(
      [
        digest({ method: 'none' }),
        digest({ method: 'bottleneck', reductionFactor: 4 }),
        digest({ method: 'bottleneck', placement: 'houlsby', size: 3, layers: [1] }),
        digest({ method: 'lora', rank: 4 }),
        digest({ method: 'lora', targets: 'all-linear', rankPattern: { up: 2 } }),
      ],
      [
        'cb07e08720d5fe87304ce533596d6760fffe52167b13a9b0d5da23c881c610bd',
        '78cd7c1b840f49259dbc0ba86162caec893913a7db35dbecdadc1a1806f59ddc',
        '6a28fc0ffe0bf74412def25fff49e86b872c7712b29c5e1ca0c5f741e3ada2a7',
        '8ee24aa7ab2dcf2ffed89362e1d5ac1cf23a0d5fcb840baf89d20792d65e7050',
        '01bb35b8e8afc0233173103b6b04e588cae88992507a5d8942177acba34dccc9',
      ],
    );
  });

  it('[REG-5] names are unique and shapes have extents of at least 1', () => {
    for (const configuration of [
      { method: 'bottleneck', placement: 'houlsby' },
      { method: 'lora', targets: 'all-linear' },
    ]) {
      const { tensors } = parseAdapter(configuration, base);
      assert.equal(new Set(tensors.map(({ name }) => name)).size, tensors.length);
      assert.ok(tensors.every(({ shape }) => shape.every((extent) => Number.isInteger(extent) && extent >= 1)));
    }
  });
});
