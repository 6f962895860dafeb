/** The flags of `tributary quickstart`. */
import { strict as assert } from 'node:assert';
import { optionsOf } from '../../../simulations/quickstart/commands.ts';
import { checkOptions } from '../../../simulations/quickstart/options.ts';
import { fixtureOptions } from './fixture.ts';

const flags = {
  task: 'classification',
  clients: 4,
  rounds: 8,
  localEpochs: 1,
  adapter: 'bottleneck',
  backend: 'auto',
  threads: 1,
  frozenWeights: 'auto',
  seed: 1,
  out: 'quickstart-output',
} as const;

describe('quickstart flags', () => {
  it('[QFL-1] without files it is the sample with its natural sites', () => {
    const options = optionsOf(flags);
    assert.equal(options.data, null);
    assert.equal(options.baseFolder, null);
    assert.deepEqual(options.partition, { kind: 'natural', column: 'client' });
  });

  it('[QFL-2] files of the user are dealt with skewed labels unless another partition is asked for', () => {
    const files = { train: 'a.jsonl', test: 'b.csv', textColumn: 'body', labelColumn: 'kind' };
    const options = optionsOf({ ...flags, ...files, base: 'folder', frozenWeights: 'int8' });
    assert.equal(options.frozenWeights, 'int8');
    assert.deepEqual(options.data, { ...files, labelNames: null });
    assert.deepEqual(options.partition, { kind: 'dirichlet', alpha: 0.5 });
    assert.equal(options.baseFolder, 'folder');
    assert.deepEqual(optionsOf({ ...flags, ...files, partition: 'iid' }).partition, { kind: 'iid' });
  });

  it('[QFL-3] one file of two is refused, naming the other', () => {
    assert.throws(() => optionsOf({ ...flags, train: 'a.jsonl' }), /--train needs --test/);
    assert.throws(() => optionsOf({ ...flags, test: 'a.jsonl' }), /--test needs --train/);
  });

  it('[QFL-4] figures out of range are refused, naming the option', () => {
    checkOptions(fixtureOptions);
    assert.throws(() => checkOptions({ ...fixtureOptions, clientCount: 0 }), /--clients .* 1 to 64, found 0/);
    assert.throws(() => checkOptions({ ...fixtureOptions, clientCount: 65 }), /--clients/);
    assert.throws(() => checkOptions({ ...fixtureOptions, rounds: 0 }), /--rounds/);
    assert.throws(() => checkOptions({ ...fixtureOptions, localEpochs: 0 }), /--local-epochs/);
    assert.throws(() => checkOptions({ ...fixtureOptions, threads: 0 }), /--threads/);
    assert.throws(() => checkOptions({ ...fixtureOptions, seed: 2 ** 32 }), /--seed/);
  });

  it('[QFL-5] tasks have the partition and the data that suit them, and what does not is refused', () => {
    const files = { train: 'a.jsonl', test: 'b.jsonl' };
    assert.deepEqual(optionsOf({ ...flags, ...files, task: 'tokens' }).partition, { kind: 'iid' });
    assert.deepEqual(optionsOf({ ...flags, ...files, task: 'multi-label' }).partition.kind, 'dirichlet');
    assert.deepEqual(optionsOf({ ...flags, task: 'causal' }).partition.kind, 'natural');
    const checked = (changes: object) => checkOptions({ ...fixtureOptions, ...changes });
    assert.throws(() => checked({ task: 'tokens', data: null }), /--task tokens needs --train and --test/);
    assert.throws(() => checked({ task: 'causal' }), /--partition dirichlet skews labels/);
    assert.throws(() => checked({ task: 'causal', partition: { kind: 'iid' }, adapter: 'none' }), {
      code: 'nothing-to-train',
    });
  });
});
