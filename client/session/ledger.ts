/**
 * The journal in use: sequence numbers that never repeat, contributions that are durable before anything is sent, credentials.
 * Writes are queued one after the other, so that an older entry never replaces a newer one. After one write failed nothing is given out any
 * more: what memory and disk say may differ.
 */
import { assert } from '../../shared/core/assert.ts';
import type { FederationId } from '../../shared/core/ids.ts';
import type { Contribution, Credentials, Journal, JournalEntry, RoundEnd } from '../platform/ports.ts';

/** Sequence numbers reserved by one write; what a crash leaves unused is skipped. */
const reservedAtOnce = 1024;

/** Durable facts of a client while it runs. */
export interface Ledger {
  readonly credentials: Credentials | null;
  /** Makes the enrolment durable. */
  enrol(credentials: Credentials): Promise<void>;
  /** A number greater than every earlier one, also after a crash. */
  nextSequence(): Promise<bigint>;
  /** The highest round to which this key contributed, null before the first. */
  lastContribution(federationId: FederationId): Contribution | null;
  /** The newest round that ended as far as this client heard, null before the first. */
  lastEnd(federationId: FederationId): RoundEnd | null;
  /** Makes the end of a round durable, so that a client that is started again goes on from it. */
  recordEnd(federationId: FederationId, end: RoundEnd): Promise<void>;
  /** Makes a contribution durable; only afterwards the update may be sent. @throws InvariantError on a round that is not new. */
  recordContribution(federationId: FederationId, contribution: Contribution): Promise<void>;
}

/** Reads the journal and takes it into use; nobody else may write it meanwhile. @throws StoreError. */
export async function openLedger(journal: Journal): Promise<Ledger> {
  let entry = await journal.read();
  let next = entry.sequenceBound;
  let writing: Promise<void> = Promise.resolve();
  const write = (change: (current: JournalEntry) => JournalEntry): Promise<void> => {
    entry = change(entry);
    writing = writing.then(() => journal.write(entry));
    // Whoever waits hears of a failure; without anybody waiting it is no unhandled rejection.
    writing.catch(() => undefined);
    return writing;
  };
  return {
    get credentials() {
      return entry.credentials;
    },
    enrol: (credentials) => write((current) => ({ ...current, credentials })),
    nextSequence: async () => {
      const sequence = next++;
      if (sequence >= entry.sequenceBound) {
        await write((current) => ({ ...current, sequenceBound: sequence + reservedAtOnce }));
      } else {
        await writing;
      }
      return BigInt(sequence + 1);
    },
    lastContribution: (federationId) => entry.contributions[federationId] ?? null,
    lastEnd: (federationId) => entry.ends[federationId] ?? null,
    recordEnd: (federationId, end) =>
      write((current) => ({ ...current, ends: { ...current.ends, [federationId]: end } })),
    recordContribution: (federationId, contribution) => {
      const { roundIndex } = contribution;
      const last = entry.contributions[federationId]?.roundIndex ?? -1;
      assert(roundIndex > last, `round ${roundIndex} is not after round ${last}, to which this client contributed`);
      return write((current) => ({
        ...current,
        contributions: { ...current.contributions, [federationId]: contribution },
      }));
    },
  };
}
