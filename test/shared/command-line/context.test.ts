import { strict as assert } from 'node:assert';
import { createContext } from '../../../shared/command-line/context.ts';
import { fakeTerminal } from './fake-terminal.ts';

describe('createContext', () => {
  const contextOn = (json: boolean) => {
    const terminal = fakeTerminal();
    return {
      terminal,
      context: createContext({ terminal, json, verbose: false, signal: new AbortController().signal }),
    };
  };

  it('[CTX-1] prints the text for people and exactly one JSON document with --json, each with one line end', () => {
    const people = contextOn(false);
    people.context.report({ answer: 42 }, 'forty-two');
    assert.deepEqual(people.terminal.output, ['forty-two\n']);
    const machine = contextOn(true);
    machine.context.report({ answer: 42 }, 'forty-two');
    assert.deepEqual(machine.terminal.output, ['{"answer":42}\n']);
    assert.equal(machine.context.reported(), true);
  });

  it('[CTX-2] refuses a second result', () => {
    const { context } = contextOn(true);
    context.report(1, 'one');
    assert.throws(() => context.report(2, 'two'), /one result/);
  });

  it('[CTX-3] writes log lines and progress to standard error only', () => {
    const { terminal, context } = contextOn(true);
    context.log('hello');
    const progress = context.progress({ label: 'work', unit: 'steps', total: 2 });
    progress.update(1);
    progress.finish();
    assert.equal(terminal.errors[0], 'hello\n');
    assert.ok(terminal.errors.length > 1);
    assert.deepEqual(terminal.output, []);
    assert.equal(context.reported(), false);
  });

  it('[CTX-4] prints parts of a text as they come, with --json the document alone', () => {
    const people = contextOn(false);
    for (const part of ['forty', '', '-']) people.context.reportPart(part);
    people.context.report({ answer: 42 }, 'two');
    assert.deepEqual(people.terminal.output, ['forty', '-', 'two\n']);
    const machine = contextOn(true);
    machine.context.reportPart('forty-');
    machine.context.report({ answer: 42 }, 'two');
    assert.deepEqual(machine.terminal.output, ['{"answer":42}\n']);
    assert.throws(() => machine.context.reportPart('more'), /parts of a result come before it/);
  });
});
