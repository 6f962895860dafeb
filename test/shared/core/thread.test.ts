import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { startThread } from '../../../shared/core/thread.node.ts';

/** A thread that does what it is told, and what it said so far. */
function scripted() {
  const said: string[] = [];
  const answers: ((what: string) => void)[] = [];
  const thread = startThread<'answer' | 'throw' | 'reject' | 'work', string>({
    program: new URL('./scripted-thread.ts', import.meta.url),
    name: 'the test',
    data: 'hello',
    onMessage: (what) => {
      said.push(what);
      answers.shift()?.(what);
    },
  });
  return { thread, said, next: () => new Promise<string>((resolve) => answers.push(resolve)) };
}

describe('thread', function () {
  this.timeout(60_000);

  it('[THR-1] gets its data, answers, and ends when asked, after what it is doing has ended', async () => {
    const { thread, said, next } = scripted();
    thread.post('answer');
    await next();
    await next();
    thread.post('work');
    await thread.end();
    assert.deepEqual(said, ['hello', 'answered', 'put away']);
    await thread.ended;
    thread.post('answer');
    await thread.end();
  });

  for (const [order, message] of [
    ['throw', /the test ended \(exit code 1\): thrown outside/],
    ['reject', /the test ended \(exit code 1\): rejected inside/],
  ] as const)
    it(`[THR-2] what it throws ends it, with the reason: ${order}`, async () => {
      const { thread } = scripted();
      thread.post(order);
      await assert.rejects(thread.ended, { code: 'thread-died', message });
      await thread.end();
    });

  it('[THR-3] a process that exits waits for the native code of its threads', async () => {
    const program = fileURLToPath(new URL('./exit-beside-products.ts', import.meta.url));
    const child = spawn(process.execPath, [program], { stdio: ['ignore', 'ignore', 'pipe'] });
    const [error, end] = await Promise.all([
      text(child.stderr),
      new Promise((resolve) => child.on('close', (...given) => resolve(given))),
    ]);
    assert.deepEqual(end, [3, null], error);
  });
});
