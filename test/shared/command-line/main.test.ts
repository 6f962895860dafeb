import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../../shared/command-line/main.node.ts', import.meta.url));
const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));

interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

function tributary(...argv: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...argv], (error, output, errors) => {
      resolve({ code: error === null ? 0 : Number(error.code), output, errors });
    });
  });
}

describe('tributary', () => {
  it('[MAI-1] lists every command in its help', async () => {
    const { code, output } = await tributary('--help');
    assert.equal(code, 0);
    const commands = [
      'quickstart',
      'coordinator',
      'invite',
      'adapters',
      'client',
      'train',
      'evaluate',
      'data',
      'plan',
      'doctor',
    ];
    for (const command of commands) assert.match(output, new RegExp(`^  ${command}\\b`, 'm'));
  });

  it('[MAI-2] has the version of the package, and 2 as the code of wrong use', async () => {
    assert.deepEqual(await tributary('--version'), { code: 0, output: `${version}\n`, errors: '' });
    const { code, output, errors } = await tributary('trian');
    assert.deepEqual([code, output], [2, '']);
    assert.match(errors, /unknown command 'trian'[\s\S]*train/);
  });

  it('[MAI-3] loads every module: each command shows its own help', async () => {
    const commands = ['coordinator', 'invite', 'adapters', 'client', 'train', 'evaluate', 'data', 'plan', 'doctor'];
    for (const command of commands) {
      const { code, output, errors } = await tributary(command, '--help');
      assert.equal(code, 0, `${command}: ${errors}`);
      assert.match(output, new RegExp(`Usage: tributary ${command}`));
    }
  });
});
