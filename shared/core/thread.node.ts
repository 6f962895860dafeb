/**
 * Worker threads that end in order. A thread is never cut off while it lives: inside a native library that would take the whole process along.
 * It is asked to end, hears that through its signal, and goes when nothing computes any more; a process that exits waits for it.
 */
import process from 'node:process';
import { getHeapStatistics } from 'node:v8';
import { parentPort, type Transferable, Worker, workerData } from 'node:worker_threads';
import { assert } from './assert.ts';
import { errorMessage, FederationError } from './errors.ts';

/** A running thread. */
export interface Thread<ToThread> {
  /** Sends a message; `transfer` moves. What comes after the end is dropped. */
  post(message: ToThread, transfer?: readonly Transferable[]): void;
  /** Resolves when it ended as asked; rejects with FederationError `thread-died` when it ended otherwise. Nobody needs to wait for it. */
  readonly ended: Promise<void>;
  /** Whether the process stays for this thread's sake; it does until told otherwise. */
  hold(isNeeded: boolean): void;
  /** Asks it to end and waits until it is gone. Never rejects. */
  end(): Promise<void>;
}

/** What {@link startThread} needs. */
export interface ThreadOptions<FromThread> {
  /** Module that calls {@link serveThread}. */
  readonly program: URL;
  /** For messages. */
  readonly name: string;
  /** Given to the program; shared memory is shared, all else copied. */
  readonly data: unknown;
  readonly onMessage: (message: FromThread) => void;
}

/** What both sides have from the beginning. */
interface Beginning {
  readonly data: unknown;
  /** One integer: 1 when nothing of the thread's native code runs any more. */
  readonly done: Int32Array;
}

/** A message of these functions among those of their users. */
const endRequest = 'thread-end';

/** How long an exiting process waits for its threads: about the longest step of training on a large base. */
const exitWaitMs = 10_000;

/** Threads that an exiting process waits for. */
const living = new Set<{ readonly worker: Worker; readonly done: Int32Array }>();
let hearsExit = false;

function endAllAtExit(): void {
  for (const { worker } of living) worker.postMessage(endRequest);
  const deadline = performance.now() + exitWaitMs;
  for (const { done } of living) Atomics.wait(done, 0, 0, Math.max(0, deadline - performance.now()));
}

/** Starts `program` in a thread of its own, with as much room for objects as this one has. */
export function startThread<ToThread, FromThread>(options: ThreadOptions<FromThread>): Thread<ToThread> {
  const { program, name, data, onMessage } = options;
  const done = new Int32Array(new SharedArrayBuffer(4));
  const maxOldGenerationSizeMb = Math.floor(getHeapStatistics().heap_size_limit / 2 ** 20);
  const worker = new Worker(program, {
    workerData: { data, done } satisfies Beginning,
    name,
    resourceLimits: { maxOldGenerationSizeMb },
  });
  const entry = { worker, done };
  living.add(entry);
  if (!hearsExit) process.on('exit', endAllAtExit);
  hearsExit = true;
  let [isAsked, isGone] = [false, false];
  let reason = 'it left no message';
  const ended = new Promise<void>((resolve, reject) => {
    worker.on('message', onMessage);
    worker.on('error', (thrown) => {
      reason = errorMessage(thrown);
    });
    worker.once('exit', (code) => {
      isGone = true;
      living.delete(entry);
      if (isAsked && code === 0) resolve();
      else reject(new FederationError('thread-died', `${name} ended (exit code ${code}): ${reason}`));
    });
  });
  ended.catch(() => undefined);
  return {
    post: (message, transfer = []) => {
      if (!isGone) worker.postMessage(message, transfer);
    },
    ended,
    hold: (isNeeded) => {
      if (isNeeded) worker.ref();
      else worker.unref();
    },
    end: async () => {
      isAsked = true;
      worker.ref();
      if (!isGone) worker.postMessage(endRequest);
      await ended.catch(() => undefined);
    },
  };
}

/** The thread's connection to whoever started it. */
export interface ThreadPort<FromThread> {
  post(message: FromThread, transfer?: readonly Transferable[]): void;
  /** Aborted when the thread shall end. */
  readonly signal: AbortSignal;
}

/**
 * The thread's side. `begin` gets what the starter gave, and returns what takes its messages; both may take their time, and the thread ends when
 * asked as soon as what they returned has settled. What they throw, or reject with, ends the thread as a failure.
 */
export function serveThread<ToThread, FromThread>(
  begin: (data: never, port: ThreadPort<FromThread>) => Promise<(message: ToThread) => Promise<void> | void>,
): void {
  assert(parentPort !== null, 'a program of a thread runs in one');
  const port = parentPort;
  const { data, done } = workerData as Beginning;
  const ending = new AbortController();
  const running = new Set<Promise<void>>();
  const fail = (thrown: unknown): void => {
    // Thrown outside of any promise it reaches the starter as the thread's error.
    setImmediate(() => {
      throw thrown;
    });
  };
  const track = (work: Promise<void>): void => {
    const settled = work.catch((thrown: unknown) => {
      if (!ending.signal.aborted) fail(thrown);
    });
    running.add(settled);
    settled.finally(() => running.delete(settled)).catch(fail);
  };
  const end = async (): Promise<void> => {
    ending.abort(new FederationError('thread-ended', 'the thread was asked to end'));
    while (running.size > 0) await Promise.all(running);
    Atomics.store(done, 0, 1);
    Atomics.notify(done, 0);
    process.exit(0);
  };
  let take: ((message: ToThread) => Promise<void> | void) | null = null;
  const early: ToThread[] = [];
  const hear = (message: ToThread): void => track((async () => take!(message))());
  port.on('message', (message: ToThread | typeof endRequest) => {
    if (message === endRequest) end().catch(fail);
    else if (take === null) early.push(message as ToThread);
    else hear(message as ToThread);
  });
  const { signal } = ending;
  const post: ThreadPort<FromThread>['post'] = (message, transfer = []) => port.postMessage(message, transfer);
  track(
    begin(data as never, { post, signal }).then((taking) => {
      take = taking;
      for (const message of early.splice(0)) hear(message);
    }),
  );
}
