/** A log in memory, for tests and simulations. */
import type { CheckpointRow, LogRow, LogStore, Transcript } from './log-store.ts';
import { keyOf, nextRow, updatesIn } from './log-store.ts';

/** An empty log. */
export function createMemoryLog(): LogStore {
  const rows: LogRow[] = [];
  const byKey = new Map<string, LogRow>();
  const checkpoints: CheckpointRow[] = [];
  const transcripts = new Map<number, Transcript>();
  return {
    append: async (happenings, timeMs) => {
      for (const happening of happenings) {
        const key = keyOf(happening);
        if (byKey.has(key)) continue;
        const row = nextRow(rows.at(-1) ?? null, happening, timeMs);
        rows.push(row);
        byKey.set(key, row);
      }
    },
    rows: async (from) => rows.slice(from),
    find: async (type, subject) => byKey.get(keyOf({ type, subject })) ?? null,
    addCheckpoint: async (checkpoint) => void checkpoints.push(checkpoint),
    checkpoints: async () => [...checkpoints],
    keepTranscript: async (transcript) => void transcripts.set(transcript.roundIndex, transcript),
    transcript: async (roundIndex) => transcripts.get(roundIndex) ?? null,
    retained: async () => [...transcripts.values()].flatMap(updatesIn),
  };
}
