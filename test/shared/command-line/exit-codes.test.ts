import { strict as assert } from 'node:assert';
import { CommanderError } from 'commander';
import { errorDocument, exitCodeOf, explain } from '../../../shared/command-line/exit-codes.ts';
import { InvariantError } from '../../../shared/core/assert.ts';
import { FederationError, FormatError, StoreError, TransportError, UsageError } from '../../../shared/core/errors.ts';

const cases = [
  [new UsageError('bad-plan', 'wrong plan'), 2, 'bad-plan'],
  [new FormatError('bad-row', 'wrong row'), 2, 'bad-row'],
  [new TransportError('lost', 'line lost'), 1, 'lost'],
  [new StoreError('disk-full', 'disk full'), 1, 'disk-full'],
  [new FederationError('interrupted', 'interrupted'), 1, 'interrupted'],
  [new InvariantError('impossible'), 1, 'bug'],
  [new Error('plain'), 1, 'failed'],
  ['a text', 1, 'failed'],
  [new CommanderError(1, 'commander.unknownOption', 'unknown option'), 2, 'command-line-unknown-option'],
] as const;

describe('exitCodeOf', () => {
  it('[EXI-1] is 2 for wrong use and broken files and 1 for every other failure', () => {
    for (const [thrown, code] of cases) assert.equal(exitCodeOf(thrown), code, String(thrown));
  });

  it('[EXI-2] is 0 for help and version', () => {
    assert.equal(exitCodeOf(new CommanderError(0, 'commander.helpDisplayed', '')), 0);
    assert.equal(exitCodeOf(new CommanderError(0, 'commander.help', '')), 0);
    assert.equal(exitCodeOf(new CommanderError(1, 'commander.help', '')), 2, 'help because nothing was asked for');
    assert.equal(exitCodeOf(new CommanderError(0, 'commander.version', '')), 0);
  });
});

describe('errorDocument', () => {
  it('[EXI-3] has a kebab-case code and the message', () => {
    for (const [thrown, , code] of cases) {
      assert.equal(errorDocument(thrown).error.code, code);
      assert.match(errorDocument(thrown).error.code, /^[a-z]+(-[a-z]+)*$/);
    }
    assert.equal(errorDocument(new Error('plain')).error.message, 'plain');
  });
});

describe('explain', () => {
  it('[EXI-4] says the message, asks to report a bug, and points to --verbose where the error is not ours', () => {
    assert.equal(explain(new UsageError('x', 'wrong plan'), false), 'tributary: wrong plan\n');
    assert.match(explain(new InvariantError('impossible'), false), /^tributary: impossible\n.*bug in Tributary/);
    assert.match(explain(new Error('plain'), false), /--verbose/);
  });

  it('[EXI-5] shows stacks of the error and its causes with --verbose only', () => {
    const error = new UsageError('x', 'outer', { cause: new Error('inner') });
    assert.doesNotMatch(explain(error, false), /inner/);
    assert.match(explain(error, true), /outer[\s\S]*caused by Error: inner/);
  });

  it('[EXI-6] is silent where the parser of options has spoken already', () => {
    assert.equal(explain(new CommanderError(1, 'commander.unknownOption', 'unknown option'), true), '');
  });
});
