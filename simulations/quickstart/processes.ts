/**
 * Child processes of a run: started from the files beside this one, spoken to in typed messages, and ended whatever happens. A child that fails says
 * why before it ends; one that cannot say it any more leaves its last lines of standard error.
 */
import { fork } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorMessage, FederationError, FormatError, UsageError } from '../../shared/core/errors.ts';

/** Files beside this one that run as processes. */
export type EntryName = 'coordinator-process' | 'client-process' | 'learning-process';

/** Lines of a child's standard error that are kept for its reason. */
const linesKept = 20;
/** Milliseconds that a child has to end after it was asked to, before it is killed. */
const graceMs = 3000;

/** What the child's side of {@link serveParent} sends when it fails. */
interface Failure {
  readonly type: 'child-failed';
  readonly code: string;
  readonly message: string;
  /** Whether the user can mend it: wrong data, plan or base. */
  readonly isUsage: boolean;
}

/** What {@link startProcess} needs. */
export interface ProcessOptions<FromChild> {
  readonly entry: EntryName;
  /** Name of the process in messages. */
  readonly name: string;
  /** Kills the child when it aborts. */
  readonly signal: AbortSignal;
  onMessage(message: FromChild): void;
}

/** A running child. */
export interface RunningProcess<ToChild> {
  send(message: ToChild): void;
  /** Resolves when the child has ended by itself or was stopped. Rejects with the child's reason, or that of the signal. */
  readonly ended: Promise<void>;
  /** Asks the child to end and waits until it has. */
  stop(): Promise<void>;
}

/** Starts a child; types of messages are an agreement of both sides, since both are part of this program. */
export function startProcess<ToChild extends object, FromChild extends object>({
  entry,
  name,
  signal,
  onMessage,
}: ProcessOptions<FromChild>): RunningProcess<ToChild> {
  signal.throwIfAborted();
  // Unbuilt and built files lie alike; only their ending differs.
  const path = fileURLToPath(new URL(`./${entry}${extname(import.meta.url)}`, import.meta.url));
  const child = fork(path, [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const errorLines: string[] = [];
  let failure: Failure | null = null;
  let isStopping = false;
  let killTimer: NodeJS.Timeout | undefined;

  const end = (): void => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    isStopping = true;
    child.kill('SIGTERM');
    killTimer ??= setTimeout(() => child.kill('SIGKILL'), graceMs);
  };
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errorLines.push(...text.split('\n').filter((line) => line.trim() !== ''));
    errorLines.splice(0, errorLines.length - linesKept);
  });
  child.on('message', (message) => {
    const received = message as FromChild | Failure;
    if ('type' in received && received.type === 'child-failed') failure = received as Failure;
    else onMessage(received as FromChild);
  });
  signal.addEventListener('abort', end, { once: true });

  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (cause) =>
      reject(
        new FederationError('process-not-started', `${name} could not be started: ${errorMessage(cause)}`, { cause }),
      ),
    );
    // `close` comes after the last line of standard error, `exit` may come before.
    child.on('close', (exitCode, killedBy) => {
      clearTimeout(killTimer);
      signal.removeEventListener('abort', end);
      if (signal.aborted) reject(signal.reason as Error);
      else if (failure !== null) reject(errorOf(name, failure));
      else if (isStopping || exitCode === 0) resolve();
      else reject(crash(name, exitCode, killedBy, errorLines));
    });
  });
  // Whoever started the child hears of its end when it asks; until then nothing is unhandled.
  ended.catch(() => undefined);
  return {
    send: (message) => {
      // A child that is gone has said why in `ended`.
      if (child.connected) child.send(message, () => undefined);
    },
    ended,
    stop: async () => {
      end();
      await ended;
    },
  };
}

function errorOf(name: string, { code, message, isUsage }: Failure): FederationError {
  const text = `${name}: ${message}`;
  return isUsage ? new UsageError(code, text) : new FederationError(code, text);
}

function crash(name: string, exitCode: number | null, killedBy: string | null, lines: string[]): FederationError {
  const how = killedBy === null ? `ended with exit code ${exitCode}` : `was killed by ${killedBy}`;
  const why = lines.length === 0 ? 'it left no message' : `its last words: ${lines.slice(-8).join(' / ')}`;
  const memory = killedBy === 'SIGKILL' ? '; the system may have run out of memory: use fewer --clients' : '';
  return new FederationError('process-died', `${name} ${how}; ${why}${memory}`);
}

/** The child's connection to its parent. */
export interface ParentLink<FromChild> {
  send(message: FromChild): void;
}

/**
 * The child's side: hands every message of the parent to `handle`, tells the parent about failures, and ends with the parent. Ctrl+C reaches all
 * processes of a terminal at once; children leave the decision to the parent. `handle` resolves to true when the child is done.
 */
export function serveParent<ToChild, FromChild extends object>(
  handle: (message: ToChild, parent: ParentLink<FromChild>) => Promise<boolean>,
): void {
  const say = (message: FromChild | Failure): Promise<void> =>
    new Promise((resolve) => {
      if (process.connected) process.send!(message, undefined, undefined, () => resolve());
      else resolve();
    });
  // An exit drops messages that are still on their way, so the last one is waited for.
  let lastSent: Promise<void> = Promise.resolve();
  const parent: ParentLink<FromChild> = {
    send: (message) => {
      lastSent = say(message);
    },
  };
  const fail = async (thrown: unknown): Promise<never> => {
    const isKnown = thrown instanceof FederationError;
    await say({
      type: 'child-failed',
      code: isKnown ? thrown.code : 'failed',
      message: isKnown || !(thrown instanceof Error) ? errorMessage(thrown) : (thrown.stack ?? thrown.message),
      isUsage: thrown instanceof UsageError || thrown instanceof FormatError,
    });
    process.exit(1);
  };
  process.on('SIGINT', () => undefined);
  process.on('disconnect', () => process.exit(1));
  process.on('uncaughtException', (thrown) => void fail(thrown));
  process.on('message', (message) => {
    handle(message as ToChild, parent).then(async (isDone) => {
      await lastSent;
      if (isDone) process.exit(0);
    }, fail);
  });
}
