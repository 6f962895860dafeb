import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const module = new URL('../../../shared/core/engine-memory.node.ts', import.meta.url).href;

describe('memory of the engine', () => {
  it('[ENM-1] this engine understands what it is told', async () => {
    // An option that an engine does not know is named on standard error, and the process goes on.
    const program = `(await import('${module}')).markLate()`;
    const words = ['--input-type=module', '--eval', program];
    const { stderr } = await promisify(execFile)(process.execPath, words);
    assert.equal(stderr, '');
  });
});
