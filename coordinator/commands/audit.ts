/** `tributary audit`: checks the log of a coordinator and receipts of clients, replays rounds, and writes the log as a file for strangers. */
import { readFile, writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { type BackendName, backendNames } from '../../shared/compute/backend-names.ts';
import { toHex } from '../../shared/core/bytes.ts';
import { errorMessage, FederationError, UsageError } from '../../shared/core/errors.ts';
import type { LogDocument } from '../audit/log-file.ts';
import { parseReceipt, readLogFile, writeLogFile } from '../audit/log-file.ts';
import type { RoundReplay } from '../audit/replay-state.ts';
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
  readonly root?: string;
  readonly canary?: string;
  readonly backend: BackendName | 'auto';
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
    .option('--round <number>', 'replay this round, or all, from what its plan retained; needs --state')
    .option('--base <folder>', 'with --round: the base of the plan, for phases, other ranks, and rows of the operator')
    .option('--root <file>', 'with --round: the rows of aggregation.root, from which FLTrust makes its step')
    .option('--canary <file>', 'with --round: the rows of canary, on which the gate measured')
    .addOption(
      new Option('--backend <name>', 'what computes on these rows; the same as the coordinator gives the same bytes')
        .choices(['auto', ...backendNames])
        .default('auto'),
    )
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

async function verify(options: VerifyOptions, context: CommandContext): Promise<void> {
  const { state, log, receipt, round, base, root, canary } = options;
  if ((state === undefined) === (log === undefined))
    throw new UsageError('wrong-use', 'name either the --state of a coordinator or a --log file, and not both');
  if (round !== undefined && (state === undefined || !/^(?:\d+|all)$/.test(round)))
    throw new UsageError(
      'wrong-use',
      '--round takes the number of a round, or all, and needs --state: a log holds no updates',
    );
  if (round === undefined && [base, root, canary].some((given) => given !== undefined))
    throw new UsageError('wrong-use', '--base, --root and --canary are for replaying: name a --round, or all');
  const receipts = await Promise.all(receipt.map(readReceipt));
  const document = state === undefined ? readLogFile(await readText(log!), log!) : await withState(state, documentOf);
  const verdict = verifyLog(document, receipts);
  const replayed = round === undefined ? [] : await withState(state!, (opened) => replay(opened, options));
  const faults = [...verdict.faults, ...replayed.flatMap((one) => one.faults)];
  const lines = [
    `${verdict.entryCount} entries, ${verdict.checkpointCount} checkpoints, ${verdict.versionCount} versions, ${verdict.receiptCount} receipts`,
    `root ${verdict.root}`,
    ...replayed.map(describeReplay),
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

/** Replays one round, which has to be possible, or all, of which those that cannot be made again say why. */
async function replay(state: OpenState, { round, base, root, canary, backend }: VerifyOptions): Promise<RoundReplay[]> {
  // Loaded here: the rules bring tensors along.
  const { openReplays } = await import('../audit/replay-state.ts');
  const replays = await openReplays(state, { base, root, canary, backend });
  try {
    if (round !== 'all') {
      const replayed = await replays.replay(Number(round));
      const { obstacle, faults } = replayed;
      if (obstacle !== null && faults.length === 0) throw new UsageError(obstacle.code, obstacle.detail);
      return [replayed];
    }
    const replayed: RoundReplay[] = [];
    for (const roundIndex of replays.roundIndexes) replayed.push(await replays.replay(roundIndex));
    return replayed;
  } finally {
    replays.dispose();
  }
}

/** One line about a replayed round. */
function describeReplay({ roundIndex, made, obstacle, gate }: RoundReplay): string {
  const judged = gate === null ? '' : `; gate: ${gate}`;
  if (made === null) return `${obstacle?.detail ?? `round ${roundIndex}`}${judged}`;
  const { version, updateCount, deviation } = made;
  const off = deviation === 0 ? '' : `, within ${(100 * deviation).toPrecision(2)} % of the length of its step`;
  return `round ${roundIndex}: version ${version} made again of ${updateCount} updates${off}${judged}`;
}
