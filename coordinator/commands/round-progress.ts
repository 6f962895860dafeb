/** What a person watches while a federation runs: how many rounds are done, fractions included, and who is doing what. Pure. */
import type { ClientId } from '../../shared/core/ids.ts';
import type { CoordinatorProgress } from '../events.ts';

/** Where a federation stands. */
export interface RoundProgress {
  /** Takes one event; whether there is something new to show. */
  hear(event: CoordinatorProgress): boolean;
  /** Rounds done since this start, the one in hand as a fraction. Never decreases. */
  done(): number;
  /** The round in hand in a few words. */
  note(): string;
}

/** Share of a round that training is taken for; the rest is aggregation and evaluation. */
const trainingShare = 0.9;

/** No event heard yet. */
export function createRoundProgress(): RoundProgress {
  const fractions = new Map<ClientId, number>();
  const finished = new Set<ClientId>();
  let [published, asked, present, furthest] = [0, 0, 0, 0];
  let round = 'waiting for clients';

  const trained = (): number => {
    let sum = finished.size;
    for (const [clientId, fraction] of fractions) if (!finished.has(clientId)) sum += fraction;
    return asked === 0 ? 0 : sum / asked;
  };
  const clear = (): void => {
    fractions.clear();
    finished.clear();
    asked = 0;
  };
  return {
    hear: (event) => {
      switch (event.type) {
        case 'client-joined':
        case 'client-left':
          present = event.present;
          return true;
        case 'round-started':
          clear();
          asked = event.asked;
          round = `round ${event.roundIndex}`;
          return true;
        case 'client-progress':
          fractions.set(event.clientId, event.stepCount === 0 ? 0 : Math.min(1, event.stepsDone / event.stepCount));
          return true;
        case 'client-finished':
          finished.add(event.clientId);
          return true;
        case 'published':
          clear();
          published += 1;
          return true;
        case 'void':
          clear();
          return true;
        default:
          return false;
      }
    },
    done: () => {
      furthest = Math.max(furthest, published + trainingShare * Math.min(1, trained()));
      return furthest;
    },
    note: () => {
      const clients = `${present} client${present === 1 ? '' : 's'} connected`;
      return asked === 0
        ? `${round}, ${clients}`
        : `${round}: ${finished.size} of ${asked} updates, ${Math.floor(100 * trained())} % trained, ${clients}`;
    },
  };
}
