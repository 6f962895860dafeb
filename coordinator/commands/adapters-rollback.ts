/** `tributary adapters rollback`: makes an earlier version the latest again, so that a federation goes on without what came after it. */
import type { CommandContext } from '../../shared/command-line/context.ts';
import { rangesOf } from '../../shared/command-line/ranges.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { lockFolder } from '../../shared/core/folder-lock.node.ts';
import { parseClientId } from '../../shared/core/ids.ts';
import { systemClock } from '../../shared/core/system-clock.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { openAudit } from '../audit/open-audit.ts';
import { keysOfSite } from '../enrolment/rotated-keys.ts';
import { lastWithout } from '../library/contributions.ts';
import { placesOf, planOfVersion } from '../library/places.ts';
import { makeRollback } from '../library/publish.ts';
import { type Library, pick, withLibrary } from './adapters-library.ts';

/** Options of `adapters rollback`. */
export interface RollbackOptions {
  readonly state: string;
  readonly beforeClient?: string;
  readonly toVersion?: string;
}

/** Rolls back. @throws UsageError `state-in-use` while a coordinator runs on the state, `not-contributed`, `no-such-version`. */
export async function rollback(options: RollbackOptions, context: CommandContext): Promise<void> {
  const { state, beforeClient, toVersion } = options;
  if ((beforeClient === undefined) === (toVersion === undefined))
    throw new UsageError('wrong-use', 'name either --before-client or --to-version');
  const release = lockFolder(state, 'coordinator');
  try {
    const document = await withLibrary(state, (library) => rollBack(library, options));
    const { version, rolledBackTo, withdrawn } = document;
    const next = 'a coordinator that is started now goes on from it, and trains the rounds that were taken back again';
    context.report(
      document,
      `version ${version} is version ${rolledBackTo} again; taken back: ${rangesOf(withdrawn)}\n${next}`,
    );
  } finally {
    release();
  }
}

async function rollBack({ store, identity, record, versions }: Library, { beforeClient, toVersion }: RollbackOptions) {
  const latest = versions.at(-1);
  const target =
    beforeClient === undefined
      ? pick(versions, toVersion)
      : lastWithout(versions, await keysOfSite(store, await clientOf(store, beforeClient)));
  if (latest === undefined || target.row.version === latest.row.version)
    throw new UsageError('nothing-to-roll-back', `version ${target.row.version} is the latest already`);
  const audit = await openAudit({ store, identity }, null, systemClock);
  const plan = planOfVersion(
    parsePlan(JSON.parse(record.plan), 'the plan of the state'),
    placesOf(versions.map((one) => one.record))[target.row.version]!,
    versions.map(({ row }) => row),
  );
  const lineage = { identity, plan, record, publishedMs: systemClock.nowMs() };
  const made = makeRollback(lineage, { latest: latest.row, target });
  // Uses a round number up: clients that remember the last result expect its model in the round after it. First: interrupted, it costs a number, and no
  // version stands without one.
  const roundIndex = ((await store.rounds()).at(-1)?.roundIndex ?? -1) + 1;
  await audit.store.openRound(roundIndex, made.modelHash, 0);
  await audit.store.voidRound(roundIndex, 0, `rolled back to version ${target.row.version}`);
  await audit.store.addVersion(made);
  const withdrawn = versions.slice(target.row.version + 1).map(({ row }) => row.version);
  return { version: made.version, rolledBackTo: target.row.version, withdrawn, modelHash: made.modelHash };
}

/** The client that a whole id or the beginning of one names. */
async function clientOf(store: Library['store'], text: string) {
  const found = (await store.clients()).filter(({ clientId }) => clientId.startsWith(text.toLowerCase()));
  const [only] = found;
  if (found.length === 1 && only !== undefined && text.length >= 8) return only.clientId;
  if (found.length > 1)
    throw new UsageError('which-client', `${found.length} clients begin with ${text}; give more digits`);
  if (text.length < 64)
    throw new UsageError(
      'no-such-client',
      `${found.length === 0 ? 'no client' : 'one client'} begins with ${text}; give at least 8 digits of an id, see: tributary invite list`,
    );
  return parseClientId(text.toLowerCase());
}
