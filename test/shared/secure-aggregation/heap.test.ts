import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { wholeTexts } from '../../helpers/heap-texts.ts';

function snapshotOf(...parameters: readonly string[]): Readonly<Record<string, unknown>> {
  const program = join(import.meta.dirname, 'heap-process.ts');
  return JSON.parse(
    execFileSync(process.execPath, [wholeTexts, program, ...parameters], { encoding: 'utf8' }),
  ) as never;
}

describe('the heap after a masked round', () => {
  it('[HEP-1] log-secrecy: no text in a heap snapshot holds a seed, key or share of a round that is over', function () {
    this.timeout(60_000);
    const { secretCount, ...rest } = snapshotOf();
    assert.ok(Number(secretCount) > 20, `${secretCount as string} secrets were drawn`);
    assert.deepEqual(rest, { phase: 'opened', found: 0, isWhole: true, planted: 0 });
  });

  it('[HEP-2] log-secrecy: a secret that somebody keeps as text is found', function () {
    this.timeout(60_000);
    assert.equal(snapshotOf('plant').found, 1);
  });
});
