import { strict as assert } from 'node:assert';
import { createProgress, formatBytes, formatDuration, formatProgress } from '../../../shared/command-line/progress.ts';
import { fakeTerminal } from './fake-terminal.ts';

describe('formatBytes', () => {
  it('[PGS-1] uses powers of 1000 and three digits', () => {
    const cases = [0, 999, 1000, 12_345, 999_400, 999_600, 4_560_000, 7.5e12, 9e15].map(formatBytes);
    assert.deepEqual(cases, [
      '0 B',
      '999 B',
      '1.00 kB',
      '12.3 kB',
      '999 kB',
      '1.00 MB',
      '4.56 MB',
      '7.50 TB',
      '9000 TB',
    ]);
  });
});

describe('formatDuration', () => {
  it('[PGS-2] speaks in the two largest units', () => {
    const cases = [0, 440, 9949, 9950, 59_400, 59_600, 185_000, 3_599_600, 7_620_000].map(formatDuration);
    assert.deepEqual(cases, [
      '0.0 s',
      '0.4 s',
      '9.9 s',
      '10 s',
      '59 s',
      '1 min 00 s',
      '3 min 05 s',
      '1 h 00 min',
      '2 h 07 min',
    ]);
  });
});

describe('formatProgress', () => {
  const base = { label: 'training', unit: 'steps', done: 50, elapsedMs: 10_000 } as const;

  it('[PGS-3] has share, amount, rate, remaining time and note as far as they are known', () => {
    assert.equal(
      formatProgress({ ...base, total: 200, note: 'loss 0.5' }),
      'training   25 %  50/200 steps  5.00/s  30 s left  loss 0.5',
    );
    assert.equal(formatProgress(base), 'training  50 steps  5.00/s');
    assert.equal(formatProgress({ ...base, total: 50 }), 'training  100 %  50/50 steps  5.00/s');
    assert.equal(
      formatProgress({ label: 'base', unit: 'bytes', done: 2e6, total: 4e6, elapsedMs: 1000 }),
      'base   50 %  2.00 MB/4.00 MB  2.00 MB/s  1.0 s left',
    );
  });

  it('[PGS-4] says nothing about rates in the first half second', () => {
    assert.equal(formatProgress({ ...base, total: 200, elapsedMs: 499 }), 'training   25 %  50/200 steps');
    assert.equal(formatProgress({ ...base, total: 200, done: 0 }), 'training    0 %  0/200 steps');
  });
});

describe('createProgress', () => {
  it('[PGS-5] rewrites one line on a terminal, at most ten times a second, cut to its width', () => {
    const terminal = fakeTerminal({ interactive: true, columns: 20 });
    const progress = createProgress({ label: 'training', unit: 'steps', total: 1000 }, terminal);
    for (let step = 1; step <= 100; step++) {
      terminal.pass(10);
      progress.update(step);
    }
    assert.equal(terminal.errors.length, 10);
    progress.finish();
    progress.finish();
    progress.update(1000);
    assert.equal(terminal.errors.length, 11);
    for (const line of terminal.errors) {
      assert.ok(line.startsWith('\r') && line.includes('\u001b[K'));
      const shown = line.replace('\r', '').replace('\u001b[K', '').replace('\n', '');
      assert.ok(shown.length <= 19, JSON.stringify(line));
    }
    assert.ok(terminal.errors.at(-1)!.endsWith('\n'));
    assert.equal(terminal.errors.filter((line) => line.includes('\n')).length, 1);
  });

  it('[PGS-6] writes plain lines elsewhere, every ten seconds and at the end', () => {
    const terminal = fakeTerminal();
    const progress = createProgress({ label: 'training', unit: 'steps', total: 30 }, terminal);
    for (let step = 1; step <= 30; step++) {
      terminal.pass(1000);
      progress.update(step, `loss ${step}`);
    }
    progress.finish();
    assert.deepEqual(
      terminal.errors.map((line) => line.slice(0, 23)),
      ['training    3 %  1/30 s', 'training   36 %  11/30 ', 'training   70 %  21/30 ', 'training  100 %  30/30 '],
    );
    assert.ok(terminal.errors.every((line) => line.endsWith('\n') && !line.includes('\r')));
  });

  it('[PGS-7] writes nothing for work that never began', () => {
    const terminal = fakeTerminal({ interactive: true });
    createProgress({ label: 'training', unit: 'steps' }, terminal).finish();
    assert.deepEqual(terminal.errors, []);
  });

  it('[PGS-8] counts rates from the first step, not from what was loaded before it', () => {
    const terminal = fakeTerminal();
    const progress = createProgress({ label: 'training', unit: 'steps', total: 100 }, terminal);
    terminal.pass(60_000);
    progress.update(1);
    terminal.pass(10_000);
    progress.update(51);
    assert.deepEqual(terminal.errors, [
      'training    1 %  1/100 steps\n',
      'training   51 %  51/100 steps  5.00/s  9.8 s left\n',
    ]);
  });
});
