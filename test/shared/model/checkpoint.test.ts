import { strict as assert } from 'node:assert';
import { FormatError } from '../../../shared/core/errors.ts';
import { bytesInMemory } from '../../../shared/model/byte-source.ts';
import { type CheckpointSpecification, matchCheckpoint } from '../../../shared/model/checkpoint.ts';
import { parseJsonObject } from '../../../shared/model/configuration.ts';
import { readModel } from '../../../shared/model/family.ts';
import { describeFiles } from '../../../shared/model/load.ts';
import { writeSafetensors } from '../../../shared/model/safetensors.ts';
import type { SafetensorsType, StoredTensor } from '../../../shared/model/safetensors-header.ts';
import { tensorsOf } from './checkpoint-files.ts';
import { allFixtures, fixtureFiles } from './fixtures.ts';

const specification: CheckpointSpecification = {
  prefix: 'bert.',
  needs: [
    { name: 'embeddings.weight', shape: [3, 2] },
    { name: 'LayerNorm.weight', shape: [2] },
    { name: 'LayerNorm.bias', shape: [2] },
    { name: 'model.own', shape: [1] },
    { name: 'head.weight', shape: [2], optionalGroup: 'head' },
    { name: 'head.bias', shape: [1], optionalGroup: 'head' },
  ],
  ignorable: /^(position_ids|pooler\..*)$/,
  currentName: (name) => name.replace(/^words\.weight$/, 'embeddings.weight'),
};

const plain = ['embeddings.weight', 'LayerNorm.weight', 'LayerNorm.bias', 'model.own'];

function stored(shape: readonly number[], dtype: SafetensorsType = 'F32'): StoredTensor {
  return { dtype, shape, source: bytesInMemory(new Uint8Array()), offset: 0, byteCount: 0 };
}

/** Tensors of the right shapes under the given names, which are those of the specification, spelt otherwise. */
function named(names: readonly string[]): Map<string, StoredTensor> {
  const shapeOf = (name: string) =>
    /(embeddings|words)\.weight$/.test(name) ? [3, 2] : /own$|head\.bias$/.test(name) ? [1] : [2];
  return new Map(names.map((name) => [name, stored(shapeOf(name))]));
}

function match(names: readonly string[]): string[] {
  return [...matchCheckpoint(named(names), specification, 'x').keys()].sort();
}

function refusal(tensors: ReadonlyMap<string, StoredTensor>): string {
  try {
    matchCheckpoint(tensors, specification, 'x');
  } catch (thrown) {
    assert.ok(thrown instanceof FormatError && thrown.code === 'bad-checkpoint', String(thrown));
    return thrown.message;
  }
  assert.fail('the tensors were accepted');
}

describe('matchCheckpoint', () => {
  it('[CKP-1] takes names with the prefix of the family, without it, and inside wrappers', () => {
    const expected = [...plain].sort();
    for (const start of [
      '',
      'bert.',
      'module.',
      'model.',
      '_orig_mod.',
      'module.bert.',
      '_orig_mod.module.model.bert.',
    ])
      assert.deepEqual(match(plain.map((name) => start + name)), expected, start);
    // Each name counts for itself: heads have stood outside the prefix, bodies inside.
    assert.deepEqual(match(plain.map((name, index) => (index % 2 === 0 ? `bert.${name}` : name))), expected);
  });

  it('[CKP-2] takes the old words for gain and bias, and the old names of the family', () => {
    const old = ['bert.words.weight', 'bert.LayerNorm.gamma', 'bert.LayerNorm.beta', 'model.own'];
    assert.deepEqual(match(old), [...plain].sort());
  });

  it('[CKP-3] prefers the literal reading: a name that begins like a wrapper stays what it is', () => {
    const tensors = named([...plain.slice(0, 3), 'model.own']);
    assert.equal(matchCheckpoint(tensors, specification, 'x').get('model.own'), tensors.get('model.own'));
  });

  it('[CKP-4] refuses two names that mean the same', () => {
    assert.match(
      refusal(named([...plain, 'bert.LayerNorm.gamma'])),
      /LayerNorm\.weight stands there twice, the second time as bert\.LayerNorm\.gamma/,
    );
    assert.match(refusal(named([...plain, 'module.bert.embeddings.weight'])), /embeddings\.weight stands there twice/);
  });

  it('[CKP-5] refuses what is missing and what is surplus, and leaves out what may be there', () => {
    assert.deepEqual(match([...plain, 'bert.position_ids', 'module.pooler.dense.weight']), [...plain].sort());
    assert.match(refusal(named(plain.slice(1))), /x does not fit config\.json: missing embeddings\.weight/);
    assert.match(refusal(named([...plain, 'other.weight'])), /surplus other\.weight/);
    // A wrapper in the middle of a name is no wrapper.
    assert.match(refusal(named([...plain, 'head.module.bias'])), /surplus head\.module\.bias/);
  });

  it('[CKP-6] takes a group of optional tensors whole or not at all', () => {
    assert.deepEqual(match([...plain, 'head.weight', 'head.bias']), [...plain, 'head.weight', 'head.bias'].sort());
    assert.match(refusal(named([...plain, 'head.weight'])), /missing head\.bias/);
  });

  it('[CKP-7] refuses wrong shapes and types by name', () => {
    const tensors = named(plain);
    tensors.set('embeddings.weight', stored([2, 3])).set('LayerNorm.bias', stored([2], 'I64'));
    const message = refusal(tensors);
    assert.match(message, /embeddings\.weight has the shape \[2, 3\], expected \[3, 2\]/);
    assert.match(message, /LayerNorm\.bias has the type I64, expected F32, F16 or BF16/);
  });

  for (const family of allFixtures) {
    it(`[CKP-8] ${family} is read bare, wrapped, and with the old words for gain and bias`, () => {
      const files = fixtureFiles(family);
      const { prefix } = readModel(parseJsonObject(files.get('config.json')!, 'config.json')).checkpoint;
      const tensors = tensorsOf(files);
      const { parameterCount } = describeFiles(files);
      for (const rename of [
        (name: string) => (prefix !== '' && name.startsWith(prefix) ? name.slice(prefix.length) : name),
        (name: string) => `module.${name}`,
        (name: string) =>
          name.replace(/([Nn]orm\w*|ln_\w+)\.weight$/, '$1.gamma').replace(/([Nn]orm\w*|ln_\w+)\.bias$/, '$1.beta'),
      ]) {
        const renamed = new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
        assert.notDeepEqual([...renamed.keys()], [...tensors.keys()]);
        const found = describeFiles(new Map(files).set('model.safetensors', writeSafetensors(renamed)));
        assert.equal(found.parameterCount, parameterCount);
      }
    });
  }
});
