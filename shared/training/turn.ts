/** Gives other work of the process its turn between two steps of training or evaluation. */

/** Resolves in the next turn of the event loop, after pending I/O: heartbeats and cancellations get through during long training. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}
