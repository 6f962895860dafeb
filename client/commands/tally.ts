/** What a run of a client came to, gathered from its events. Pure. */
import type { ClientEvent } from '../events.ts';

/** A round that the client contributed to. */
export interface TallyRound {
  readonly roundIndex: number;
  /** Bytes of the update. */
  readonly bytes: number;
  readonly exampleCount: number;
  /** The published model and how many made it; null when no result was heard. */
  readonly published: { readonly modelHash: string; readonly contributorCount: number } | null;
}

/** A round that the client did not take part in. */
export interface TallyDecline {
  readonly roundIndex: number;
  readonly code: string;
  readonly detail: string;
}

/** Gathers. */
export interface Tally {
  hear(event: ClientEvent): void;
  rounds(): readonly TallyRound[];
  declined(): readonly TallyDecline[];
}

/** Nothing heard yet. */
export function createTally(): Tally {
  const rounds = new Map<number, TallyRound>();
  const declined: TallyDecline[] = [];
  return {
    hear: (event) => {
      if (event.type === 'uploaded') {
        const { roundIndex, bytes, exampleCount } = event;
        rounds.set(roundIndex, { roundIndex, bytes, exampleCount, published: null });
      } else if (event.type === 'declined') {
        const { roundIndex, code, detail } = event;
        declined.push({ roundIndex, code, detail });
      } else if (event.type === 'result') {
        const { roundIndex, newModelHash: modelHash, contributorCount } = event;
        const round = rounds.get(roundIndex);
        if (round !== undefined) rounds.set(roundIndex, { ...round, published: { modelHash, contributorCount } });
      }
    },
    rounds: () => [...rounds.values()],
    declined: () => declined,
  };
}
