/**
 * Progress of long work: on a terminal one line that is rewritten, with rate and remaining time; elsewhere (a file, a service's log) plain
 * lines, seldom. Formatting is pure; {@link createProgress} decides when to write.
 */

/** Milliseconds between two states of the rewritten line: often enough to look alive. */
const redrawMs = 100;
/** Milliseconds between two plain lines: an hour of work is a page of log. */
const plainMs = 10_000;
/** Nothing is said about rates before this many milliseconds: early rates mislead. */
const rateAfterMs = 500;

/** What is measured: bytes print as kB and MB, anything else as counts. */
export type ProgressUnit = 'bytes' | 'steps' | 'rounds' | 'rows' | 'files';

/** What a progress line is about. */
export interface ProgressOptions {
  readonly label: string;
  readonly unit: ProgressUnit;
  /** All of the work; left out when unknown: then there is no remaining time. */
  readonly total?: number;
}

/** Work under way. */
export interface Progress {
  /** `done` of the total, not smaller than before; `note` stands at the end of the line (a loss, a round). */
  update(done: number, note?: string): void;
  /** Prints the last state and ends the line; calling it again does nothing. */
  finish(): void;
}

/** Where a progress line stands. */
export interface ProgressState extends ProgressOptions {
  readonly done: number;
  /** What was done when the clock of the rate began; default 0. */
  readonly doneBefore?: number;
  readonly elapsedMs: number;
  readonly note?: string;
}

/** What {@link createProgress} writes to. */
interface ProgressOutput {
  writeError(text: string): void;
  readonly interactive: boolean;
  columns(): number;
  nowMs(): number;
}

/** `840 B`, `12.3 kB`, `4.56 MB`: powers of 1000, three digits. */
export function formatBytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${Math.round(value)} B` : `${threeDigits(value)} ${units[unit]}`;
}

/** `0.4 s`, `42 s`, `3 min 05 s`, `2 h 07 min`, of milliseconds at least 0. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 9950) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${twoDigits(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
}

/** One line: label, share, amount, rate, remaining time, note; as far as they are known. */
export function formatProgress({ label, unit, total, done, doneBefore = 0, elapsedMs, note }: ProgressState): string {
  const amount = (count: number) => (unit === 'bytes' ? formatBytes(count) : `${Math.round(count)}`);
  const parts = [label];
  if (total !== undefined && total > 0)
    parts.push(`${Math.floor((100 * Math.min(done, total)) / total)} %`.padStart(5));
  const whole = total === undefined ? amount(done) : `${amount(done)}/${amount(total)}`;
  parts.push(unit === 'bytes' ? whole : `${whole} ${unit}`);
  const gained = done - doneBefore;
  if (elapsedMs >= rateAfterMs && gained > 0) {
    const perSecond = (1000 * gained) / elapsedMs;
    parts.push(unit === 'bytes' ? `${formatBytes(perSecond)}/s` : `${threeDigits(perSecond)}/s`);
    if (total !== undefined && done < total)
      parts.push(`${formatDuration((elapsedMs * (total - done)) / gained)} left`);
  }
  if (note !== undefined) parts.push(note);
  return parts.join('  ');
}

/** Starts a progress line; nothing is written before the first update, from which rates count: what was loaded before it is no work of that kind. */
export function createProgress(options: ProgressOptions, output: ProgressOutput): Progress {
  let first: { readonly atMs: number; readonly doneBefore: number } | null = null;
  let state: ProgressState = { ...options, done: 0, elapsedMs: 0 };
  let writtenMs = Number.NEGATIVE_INFINITY;
  let written: ProgressState | null = null;
  let finished = false;

  const write = (ending: '' | '\n'): void => {
    const line = formatProgress(state);
    if (output.interactive) {
      // Carriage return, the line cut to the window so that it never wraps, then "erase to the end of the line".
      output.writeError(`\r${line.slice(0, Math.max(1, output.columns() - 1))}\u001b[K${ending}`);
    } else {
      output.writeError(`${line}\n`);
    }
    written = state;
    writtenMs = output.nowMs();
  };

  return {
    update: (done, note) => {
      if (finished) return;
      const atMs = output.nowMs();
      first ??= { atMs, doneBefore: done };
      const { doneBefore } = first;
      state = { ...options, done, doneBefore, elapsedMs: atMs - first.atMs, ...(note === undefined ? {} : { note }) };
      if (atMs - writtenMs >= (output.interactive ? redrawMs : plainMs)) write('');
    },
    finish: () => {
      if (finished) return;
      finished = true;
      if (output.interactive && written !== null) write('\n');
      else if (written !== state && state.elapsedMs > 0) write('\n');
    },
  };
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

function twoDigits(value: number): string {
  return `${value}`.padStart(2, '0');
}
