/** Shows a running client to people: one progress line for what takes long, a line of log for what happened. */
import type { CommandContext } from '../../shared/command-line/context.ts';
import type { Progress, ProgressOptions } from '../../shared/command-line/progress.ts';
import { formatBytes, formatDuration } from '../../shared/command-line/progress.ts';
import type { ClientEvent } from '../events.ts';

/** Shows events. */
export interface Watch {
  hear(event: ClientEvent): void;
  /** Ends the progress line. */
  finish(): void;
}

/** What of an event is progress: the line it belongs to, how much is done, and a note. */
function progressOf(event: ClientEvent): (ProgressOptions & { readonly done: number; readonly note?: string }) | null {
  switch (event.type) {
    case 'downloaded':
      return { label: `fetching ${event.what}`, unit: 'bytes', total: event.size, done: event.bytes };
    case 'training': {
      const { roundIndex, stepsDone, stepCount, loss } = event;
      const label = `round ${roundIndex}: training`;
      return { label, unit: 'steps', total: stepCount, done: stepsDone, note: `loss ${loss.toFixed(4)}` };
    }
    case 'uploading':
      return { label: `round ${event.roundIndex}: sending`, unit: 'bytes', total: event.size, done: event.bytes };
    default:
      return null;
  }
}

/** The line of an event, or null for what only progress shows. `verbose` adds what goes without saying. */
export function describeEvent(event: ClientEvent, verbose: boolean): string | null {
  switch (event.type) {
    case 'waiting-for-approval':
      return `waiting for approval: read this fingerprint to the administrator of the consortium who calls, or without one to the coordinator's operator: ${event.fingerprint}`;
    case 'enrolled':
      return `enrolled with ${event.url}`;
    case 'connected':
      return 'connected';
    case 'disconnected':
      return `not connected (${event.detail}); next attempt in ${formatDuration(event.retryMs)}`;
    case 'offered':
      return verbose ? `round ${event.roundIndex}: offered` : null;
    case 'declined':
      return `round ${event.roundIndex}: declined (${event.code}): ${event.detail}`;
    case 'uploaded':
      return `round ${event.roundIndex}: sent ${formatBytes(event.bytes)}, trained on ${event.exampleCount} rows`;
    case 'evaluated':
      return verbose ? `evaluated; ${event.disclosed ? 'counts were sent' : 'nothing was disclosed'}` : null;
    case 'result':
      return `round ${event.roundIndex}: published, made by ${event.contributorCount} sites`;
    case 'void':
      return `round ${event.roundIndex}: void, the model stays: ${event.reason}`;
    case 'problem':
      return `problem (${event.code}): ${event.detail}`;
    case 'downloaded':
    case 'training':
    case 'uploading':
    case 'finished':
      return null;
    default:
      return event satisfies never;
  }
}

/** A watch that writes through `context`. */
export function createWatch(context: Pick<CommandContext, 'log' | 'progress' | 'verbose'>): Watch {
  let current: { readonly label: string; readonly progress: Progress } | null = null;
  const finish = (): void => {
    current?.progress.finish();
    current = null;
  };
  return {
    hear: (event) => {
      const found = progressOf(event);
      if (found !== null) {
        const { done, note, ...options } = found;
        if (current?.label !== options.label) {
          finish();
          current = { label: options.label, progress: context.progress(options) };
        }
        current.progress.update(done, note);
        if (done >= (options.total ?? Number.POSITIVE_INFINITY)) finish();
        return;
      }
      const line = describeEvent(event, context.verbose);
      if (line === null) return;
      finish();
      context.log(line);
    },
    finish,
  };
}
