/** What outlives a killed coordinator of a federation world, and the rules that its history keeps: checked at every change. */
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { check } from '../checkers/check.ts';

/** One round number. */
export interface LedgerRound {
  readonly hash: Digest;
  status: 'open' | 'published' | 'void';
  /** Updates of an unmasked round, or answers of a masked one, by client: what each contributed. */
  readonly stored: Map<ClientId, string>;
  /** Whether shares of a masked round were asked for: from then on it is finished, not begun again. */
  isOpenable: boolean;
  readonly attempt: number;
  readonly asked: readonly ClientId[];
  readonly invited: readonly ClientId[];
}

/** The durable history of a federation. */
export interface Ledger {
  readonly rounds: readonly LedgerRound[];
  readonly versions: readonly { readonly roundIndex: number; readonly contributors: readonly ClientId[] }[];
  /** Opens a number, or begins another attempt of the open one. */
  open(roundIndex: number, round: Pick<LedgerRound, 'hash' | 'attempt' | 'asked'>): void;
  invite(roundIndex: number, invited: readonly ClientId[]): void;
  store(roundIndex: number, clientId: ClientId, digest: string): void;
  publish(roundIndex: number, contributors: readonly ClientId[]): void;
  end(roundIndex: number): void;
}

/** An empty history of rounds with this quorum. */
export function createLedger(quorum: number, attemptsAllowed: number): Ledger {
  const rounds: LedgerRound[] = [];
  const versions: { roundIndex: number; contributors: readonly ClientId[] }[] = [];
  const openOne = (roundIndex: number): LedgerRound => {
    const round = rounds[roundIndex];
    check('linear-history', round?.status === 'open', `round ${roundIndex} is ${round?.status ?? 'unknown'}, not open`);
    return round;
  };
  return {
    rounds,
    versions,
    open: (roundIndex, round) => {
      const before = rounds[roundIndex];
      const isNext = roundIndex === rounds.length && rounds.every(({ status }) => status !== 'open');
      const isAgain = before?.status === 'open' && roundIndex === rounds.length - 1 && !before.isOpenable;
      check('linear-history', isNext || isAgain, `round ${roundIndex} opens as number ${rounds.length}`);
      check('linear-history', round.attempt < attemptsAllowed, `attempt ${round.attempt} of round ${roundIndex}`);
      rounds[roundIndex] = { ...round, status: 'open', stored: new Map(), isOpenable: false, invited: [] };
    },
    invite: (roundIndex, invited) => {
      rounds[roundIndex] = { ...openOne(roundIndex), invited, isOpenable: true };
    },
    store: (roundIndex, clientId, digest) => {
      const { stored } = openOne(roundIndex);
      if (!stored.has(clientId)) stored.set(clientId, digest);
    },
    publish: (roundIndex, contributors) => {
      const round = openOne(roundIndex);
      const last = versions.at(-1)?.roundIndex ?? -1;
      check('linear-history', roundIndex > last, `round ${roundIndex} is published after round ${last}`);
      check(
        'quorum',
        contributors.length >= quorum,
        `${contributors.length} clients in the version of round ${roundIndex}`,
      );
      check('quorum', new Set(contributors).size === contributors.length, `a client is in round ${roundIndex} twice`);
      const missing = contributors.find((clientId) => !round.stored.has(clientId));
      check('quorum', missing === undefined, `${missing?.slice(-4)} is in round ${roundIndex} and sent nothing`);
      versions.push({ roundIndex, contributors });
      round.status = 'published';
    },
    end: (roundIndex) => {
      openOne(roundIndex).status = 'void';
    },
  };
}
