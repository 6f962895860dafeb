/** How eagerly the engine collects garbage in a process that moves megabytes with every round. */
import { setFlagsFromString } from 'node:v8';

/** Shares of the room that the heap has until its limit, in percent, at which marking begins beside the work, and at once. */
const triggers = { soft: 90, hard: 95 } as const;

/**
 * Has the engine mark only when its heap comes near its limit. By default it begins as soon as less room is left than its young generation may
 * take, which in a process with a small heap is always: it then walks the whole heap with every round, for nothing. The limit itself, and that for
 * memory outside the heap, stay what they are. For whole processes, at their start.
 */
export function markLate(): void {
  setFlagsFromString(`--incremental-marking-soft-trigger=${triggers.soft}`);
  setFlagsFromString(`--incremental-marking-hard-trigger=${triggers.hard}`);
}
