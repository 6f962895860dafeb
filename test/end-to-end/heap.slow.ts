import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { wholeTexts } from '../helpers/heap-texts.ts';

function snapshotOf(...parameters: readonly string[]) {
  const program = join(import.meta.dirname, 'heap-process.ts');
  const printed = execFileSync(process.execPath, [wholeTexts, program, ...parameters], { encoding: 'utf8' });
  return JSON.parse(printed) as { readonly secretCount: number; readonly found: readonly string[] };
}

describe('the heap after a masked federation', function () {
  this.timeout(120_000);

  it('[HEP-3] log-secrecy: no text in a heap snapshot of clients and coordinator holds a seed, key or share of the round that is over', () => {
    const { secretCount, ...rest } = snapshotOf();
    assert.ok(secretCount > 100, `${secretCount} secrets are known`);
    assert.deepEqual(rest, { contributors: 4, attemptCount: 5, planted: 0, isWhole: true, found: [] });
  });

  it('[HEP-4] log-secrecy: one that somebody keeps as text is found', () => {
    assert.deepEqual(snapshotOf('plant').found, ['of an attempt']);
  });
});
