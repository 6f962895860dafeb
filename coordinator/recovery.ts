/** What a coordinator goes on with: rounds that are durable, and what becomes of one that was open when its coordinator ended. */
import { forgetNoise } from './audit/central-noise.ts';
import { entryOf, payloadOf } from './audit/log-store.ts';
import { roundsInEffect } from './library/contributions.ts';
import type { MaskedRounds, StoredAttempt } from './masking/masked-rounds.ts';
import type { RoundWork } from './round-work.ts';
import type { RoundOutcome } from './rounds/state.ts';
import type { CoordinatorStore } from './store/store.ts';

/** What is durable. */
export interface Recovered {
  /** Number of the round to go on with, or of the next one. */
  readonly roundIndex: number;
  readonly publishedCount: number;
  /** Candidates that the gate refused since the last version: a new start does not begin that count anew. */
  readonly refusalsInRow: number;
  readonly outcomes: readonly RoundOutcome[];
  /** A masked round whose survivors are known: its sum can still be opened. */
  readonly resumed: StoredAttempt | null;
}

/**
 * Reads what is durable. An unmasked round that was open is void, and its number is not used again. A masked one goes on where its survivors
 * were fixed; before that it is tried again under its number with new keys, since nobody's share was opened (amendment 2).
 */
export async function recover(
  store: CoordinatorStore,
  work: RoundWork,
  {
    isOpenable,
    isMasked,
    coordinatorKey,
    firstRound = 0,
  }: Pick<MaskedRounds, 'isOpenable'> & {
    readonly isMasked: boolean;
    readonly coordinatorKey: Uint8Array;
    /** Rounds before it are of earlier phases. */
    readonly firstRound?: number | undefined;
  },
): Promise<Recovered> {
  const open = (await store.rounds()).find(({ status }) => status === 'open');
  if (open !== undefined && !isMasked) await voidOpenRounds(store, work, 'the coordinator ended in this round');
  const rounds = await store.rounds();
  // The coordinator may have ended after it made the round void and before it forgot the noise.
  const last = rounds.at(-1);
  if (last?.status === 'void') await forgetNoise(store, last.roundIndex);
  const isOpen = open !== undefined && isMasked;
  const stored = isOpen ? await store.attemptOf(open.roundIndex) : null;
  const outcomes = rounds
    .filter(({ status, roundIndex }) => status !== 'open' && roundIndex >= firstRound)
    .map(({ roundIndex, status, asked, contributed, detail }) => ({
      roundIndex,
      asked,
      contributed,
      detail,
      kind: status === 'published' ? ('published' as const) : ('void' as const),
    }));
  return {
    roundIndex: isOpen ? open.roundIndex : (rounds.at(-1)?.roundIndex ?? -1) + 1,
    // Rounds that were taken back do not count.
    publishedCount: roundsInEffect(await store.versions(), coordinatorKey),
    refusalsInRow: await refusalsSince(store, outcomes),
    outcomes,
    resumed: stored !== null && isOpenable(stored) ? stored : null,
  };
}

/** Void rounds since the last published one whose candidate the gate refused, as the log has it. */
async function refusalsSince({ log }: CoordinatorStore, outcomes: readonly RoundOutcome[]): Promise<number> {
  const voids = outcomes.slice(outcomes.findLastIndex(({ kind }) => kind === 'published') + 1);
  const [first] = voids;
  if (first === undefined) return 0;
  const opened = await log.find('round-opened', String(first.roundIndex));
  const refused = new Set(
    (await log.rows(opened?.sequence ?? 0))
      .filter((row) => entryOf(row).type === 'candidate-refused')
      .map((row) => payloadOf(row).roundIndex),
  );
  return voids.filter(({ roundIndex }) => refused.has(roundIndex)).length;
}

/** Makes every open round void: nobody goes on with it. */
export async function voidOpenRounds(store: CoordinatorStore, work: RoundWork, detail: string): Promise<void> {
  for (const { roundIndex, status } of await store.rounds())
    if (status === 'open') await work.makeVoid(null, { roundIndex, contributed: 0, detail });
}
