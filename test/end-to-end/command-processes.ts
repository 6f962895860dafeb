/** The commands that people use, in processes of their own. */
import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

const main = join(import.meta.dirname, '../../shared/command-line/main.node.ts');

/** A test takes as long as a loaded machine takes, but something is said or ends within this. */
const silenceMs = 180_000;

/** A command under way. */
export interface RunningCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly output: string; readonly errors: string }>;
  /** Resolves with the first text on standard error that fits. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
}

/** The processes of a test. */
export interface CommandProcesses {
  start(...argv: readonly string[]): RunningCommand;
  /** Runs a command to its end, which has to be good, and gives what it wrote. */
  run(...argv: readonly string[]): Promise<string>;
  /** Ends a process without giving it a chance to do anything. */
  kill(running: RunningCommand): Promise<void>;
  /** Kills whatever still runs. */
  close(): void;
}

/** No process yet; `onProgress` is called whenever one says or ends something. `environment` is added to that of this process. */
export function commandProcesses(
  onProgress: () => void,
  environment: Readonly<Record<string, string>> = {},
): CommandProcesses {
  const children = new Set<ChildProcess>();
  const start = (...argv: readonly string[]): RunningCommand => {
    const env = { ...process.env, ...environment };
    const child = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'], env });
    children.add(child);
    let [output, errors] = ['', ''];
    let wake = Promise.withResolvers<void>();
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      onProgress();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
      onProgress();
      wake.resolve();
      wake = Promise.withResolvers();
    });
    let isOver = false;
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve)).then((code) => {
      isOver = true;
      onProgress();
      children.delete(child);
      wake.resolve();
      return { code, output, errors };
    });
    const line = async (pattern: RegExp): Promise<RegExpExecArray> => {
      for (;;) {
        const found = pattern.exec(errors);
        if (found !== null) return found;
        if (isOver) throw new Error(`${argv[0]} ended without ${pattern}: ${errors}${output}`);
        await wake.promise;
      }
    };
    return { child, ended, line };
  };
  return {
    start,
    run: async (...argv) => {
      const { code, output, errors } = await start(...argv).ended;
      assert.equal(code, 0, `${argv.join(' ')}: ${errors}${output}`);
      return output;
    },
    kill: async (running) => {
      running.child.kill('SIGKILL');
      await running.ended;
    },
    close: () => {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

/** Gives a suite a deadline for silence, {@link silenceMs}, and none for the whole: it moves whenever what is returned is called. */
export function movingDeadline(suite: Mocha.Suite): () => void {
  let progress = (): void => undefined;
  suite.timeout(silenceMs);
  suite.beforeEach(function () {
    const [test, startedMs] = [this.currentTest, performance.now()];
    progress = () => test?.timeout(performance.now() - startedMs + silenceMs);
  });
  return () => progress();
}
