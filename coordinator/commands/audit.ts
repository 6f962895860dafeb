/** `tributary audit`: checks the log of a coordinator and receipts of clients, replays rounds, and writes the log as a file for strangers. */
import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { errorMessage, FederationError, UsageError } from '../../shared/core/errors.ts';
import { judgeCertificates } from '../../shared/identity/certificate.ts';
import { decodeConsortium } from '../../shared/identity/consortium.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { rootOf } from '../../shared/plan/robustness.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import { judgeVouchers } from '../../shared/secure-aggregation/voucher.ts';
import { isCommitted, noiseOf } from '../audit/central-noise.ts';
import type { LogDocument } from '../audit/log-file.ts';
import { parseReceipt, readLogFile, writeLogFile } from '../audit/log-file.ts';
import type { ReplayVerdict } from '../audit/replay.ts';
import { type ReceiptDocument, verifyLog } from '../audit/verify.ts';
import type { CoordinatorState } from '../store/state.ts';
import { openExistingState } from '../store/state.ts';
import type { FederationRecord } from '../store/store.ts';

interface VerifyOptions {
  readonly state?: string;
  readonly log?: string;
  readonly receipt: readonly string[];
  readonly round?: string;
  readonly base?: string;
}

type OpenState = CoordinatorState & { readonly record: FederationRecord };

/** Adds `audit` with its subcommands. */
export function register(program: Command, context: CommandContext): void {
  const audit = program.command('audit');
  audit
    .command('verify')
    .description('check a log: chain, signatures, checkpoints, versions, receipts; with --round make its version again')
    .option('--state <folder>', 'state folder of the coordinator')
    .option('--log <file>', 'in its place: a log as `tributary audit export` wrote it')
    .option(
      '--receipt <file>',
      'receipt of a client, any number of them',
      (file, files: string[]) => [...files, file],
      [],
    )
    .option('--round <number>', 'replay this round from what its plan retained; needs --state')
    .option('--base <folder>', 'the base of the plan, for rules that publish other ranks than sites train')
    .action((options: VerifyOptions) => verify(options, context));
  audit
    .command('export')
    .description('write the log with checkpoints and version records as one file that anybody can check')
    .requiredOption('--state <folder>', 'state folder of the coordinator')
    .requiredOption('--out <file>', 'where to write it')
    .action(async ({ state, out }: { state: string; out: string }) => {
      const document = await withState(state, documentOf);
      await writeFile(out, writeLogFile(document));
      const { rows, checkpoints } = document;
      context.report(
        { out, entryCount: rows.length, checkpointCount: checkpoints.length },
        `${out}: ${rows.length} entries, ${checkpoints.length} checkpoints`,
      );
    });
}

async function withState<Value>(folder: string, action: (state: OpenState) => Promise<Value>): Promise<Value> {
  const state = await openExistingState(folder);
  try {
    return await action(state);
  } finally {
    await state.close();
  }
}

async function documentOf({ store, identity, record }: OpenState): Promise<LogDocument> {
  return {
    federation: record,
    coordinatorKey: toHex(identity.publicKey),
    rows: await store.log.rows(0),
    checkpoints: await store.log.checkpoints(),
    versions: await store.versions(),
  };
}

async function verify({ state, log, receipt, round, base }: VerifyOptions, context: CommandContext): Promise<void> {
  if ((state === undefined) === (log === undefined))
    throw new UsageError('wrong-use', 'name either the --state of a coordinator or a --log file, and not both');
  if (round !== undefined && (state === undefined || !/^\d+$/.test(round)))
    throw new UsageError('wrong-use', '--round takes the number of a round, and needs --state: a log holds no updates');
  const receipts = await Promise.all(receipt.map(readReceipt));
  const document = state === undefined ? readLogFile(await readText(log!), log!) : await withState(state, documentOf);
  const verdict = verifyLog(document, receipts);
  const replayed =
    round === undefined ? null : await withState(state!, (opened) => replay(opened, Number(round), base));
  const faults = [...verdict.faults, ...(replayed?.faults ?? [])];
  const lines = [
    `${verdict.entryCount} entries, ${verdict.checkpointCount} checkpoints, ${verdict.versionCount} versions, ${verdict.receiptCount} receipts`,
    `root ${verdict.root}`,
    ...(replayed === null
      ? []
      : [`round ${replayed.roundIndex}: version ${replayed.version} made again of ${replayed.updateCount} updates`]),
    ...faults.map(({ code, detail }) => `${code}: ${detail}`),
    faults.length === 0 ? 'everything holds' : `${faults.length} faults`,
  ];
  context.report({ ...verdict, faults, replayed }, lines.join('\n'));
  const [first] = faults;
  if (first !== undefined) throw new FederationError(first.code, `the log does not hold: ${first.detail}`);
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  });
}

async function readReceipt(path: string): Promise<ReceiptDocument> {
  return parseReceipt(await readText(path), path);
}

/** Who judges the certificates of a round that was made at a time. */
async function judgesOf({ store, identity, record }: OpenState): Promise<(timeMs: number) => JudgeCertificate> {
  const hex = await store.documents.get('consortium');
  const decoded = hex === null ? null : decodeConsortium(fromHex(hex));
  const consortium = decoded?.ok ? decoded.value : null;
  if (consortium === null) return () => judgeVouchers(identity.publicKey, record.federationId);
  return (nowMs) => judgeCertificates(() => ({ consortium, revocations: null, nowMs }));
}

async function replay(state: OpenState, roundIndex: number, base: string | undefined): Promise<ReplayVerdict> {
  const { store, blobs, record, identity } = state;
  const transcript = await store.log.transcript(roundIndex);
  if (transcript === null) {
    const next = 'a plan with audit.retainUpdates: true keeps the updates of published rounds';
    throw new UsageError('nothing-retained', `the updates of round ${roundIndex} are not kept; ${next}`);
  }
  // Loaded here: the rules bring tensors along.
  const [
    { replayRound, keysOf },
    { exchangeForReplay },
    { checkLineage },
    { placesOf, planOfVersion },
    { clipNormOf },
  ] = await Promise.all([
    import('../audit/replay.ts'),
    import('../audit/replay-exchange.ts'),
    import('../library/lineage.ts'),
    import('../library/places.ts'),
    import('../aggregation/clip-norm.ts'),
  ]);
  const versions = checkLineage(await store.versions(), { coordinatorKey: identity.publicKey, federation: record });
  const places = placesOf(versions.map((version) => version.record));
  const made = versions.find(({ row }) => row.roundIndex === roundIndex);
  const rows = versions.map(({ row }) => row);
  const document = parsePlan(JSON.parse(record.plan), 'the plan of the state');
  const plan = planOfVersion(document, places[made?.row.version ?? 0]!, rows);
  const exchange = await exchangeForReplay(plan, record, base);
  if (plan.privacy.unit === 'client' && plan.privacy.mechanism === 'central') await requireNoise(store, roundIndex);
  if (rootOf(plan.aggregation) !== null)
    throw new UsageError(
      'root-not-kept',
      'the rule compared updates with a step of the coordinator on rows of its operator, which is not kept: the round cannot be made again',
    );
  const judgeAt = await judgesOf(state);
  const before = rows.slice(0, made?.row.version ?? 0);
  const roundHash = made?.record.round?.roundHash ?? null;
  const noise = roundHash === null ? null : await noiseOf(store, roundIndex, roundHash);
  const clipNorm = before.length === 0 ? null : clipNormOf(plan, before, identity.publicKey);
  const keys = keysOf(await store.clients());
  return replayRound({ plan, exchange, transcript, versions, keys, blobs, judgeAt, noise, clipNorm });
}

/** Noise can be drawn again where its seed was kept, and its hash was logged before the round was offered. */
async function requireNoise(store: OpenState['store'], roundIndex: number): Promise<void> {
  if (await isCommitted(store, roundIndex)) return;
  throw new UsageError(
    'noise-not-kept',
    'the coordinator added noise to this round, and no seed of it is here that was committed to before the round: it cannot be made again',
  );
}
