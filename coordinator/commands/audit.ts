/** `tributary audit`: checks the log of a coordinator and receipts of clients, replays rounds, and writes the log as a file for strangers. */
import { type Command, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { fileText, writeText } from '../../shared/command-line/files.node.ts';
import { type BackendName, backendNames } from '../../shared/compute/backend-names.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { FederationError, StoreError, UsageError } from '../../shared/core/errors.ts';
import { systemClock } from '../../shared/core/system-clock.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import type { LogDocument } from '../audit/log-file.ts';
import { parseReceipt, readLogFile, writeLogFile } from '../audit/log-file.ts';
import { openAudit } from '../audit/open-audit.ts';
import type { RoundReplay } from '../audit/replay-state.ts';
import { verifyLog } from '../audit/verify.ts';
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

/** Times that an export tries to be ahead of the coordinator that writes the log. */
const signingAttempts = 10;

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
      const document = await withState(state, signedDocumentOf);
      await writeText(out, writeLogFile(document));
      const { rows, checkpoints } = document;
      const { faults } = verifyLog(document, [], { isClosed: true });
      if (faults.length > 0) context.log(`this log does not hold: tributary audit verify --log ${out} says why`);
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

/** The log as it is, signed to its end: only where it holds, because a coordinator that signs two logs is caught by it. */
async function signedDocumentOf(state: OpenState): Promise<LogDocument> {
  const { log } = await openAudit(state, null, systemClock);
  for (let attempt = 1; ; attempt++) {
    const document = await documentOf(state);
    const { unsignedCount, faults } = verifyLog(document);
    // A coordinator beside this command may go on writing.
    if (unsignedCount === 0 || faults.length > 0 || attempt === signingAttempts) return document;
    await log.checkpoint(state.record.federationId);
  }
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
  const receipts = await Promise.all(receipt.map(async (path) => parseReceipt(await fileText(path), path)));
  const document = state === undefined ? readLogFile(await fileText(log!), log!) : await withState(state, documentOf);
  const verdict = verifyLog(document, receipts, { isClosed: state === undefined });
  const replayed =
    round === undefined
      ? []
      : await withState(state!, (opened) => replay(opened, options)).catch((thrown: unknown) => {
          // What keeps versions from being replayed is among the faults already.
          if (thrown instanceof StoreError && verdict.faults.length > 0) return [];
          throw thrown;
        });
  const faults = [...verdict.faults, ...replayed.flatMap(faultsOf)];
  const { federationId } = document.federation;
  const coordinator = fingerprint(fromHex(document.coordinatorKey));
  const lines = [
    `federation ${federationId}, coordinator ${coordinator}: compare it with what the coordinator printed at its start`,
    `${counted(verdict.entryCount, 'entry', 'entries')}, ${counted(verdict.checkpointCount, 'checkpoint')}, ${counted(verdict.versionCount, 'version')}, ${counted(verdict.receiptCount, 'receipt')}`,
    `root ${verdict.root}`,
    ...(verdict.receiptCount > 0
      ? []
      : ['no receipt was given: a log whose end was cut off with its checkpoints cannot be told from a whole one']),
    ...(verdict.unsignedCount === 0 || faults.length > 0
      ? []
      : [
          `the last ${counted(verdict.unsignedCount, 'entry', 'entries')}: not signed yet, the next checkpoint does that`,
        ]),
    ...replayed.map(describeReplay),
    ...faults.map(({ code, detail }) => `${code}: ${detail}`),
    faults.length === 0 ? 'everything holds' : counted(faults.length, 'fault'),
  ];
  context.report({ ...verdict, federationId, coordinator, faults, replayed }, lines.join('\n'));
  const [first] = faults;
  if (first !== undefined) throw new FederationError(first.code, `the log does not hold: ${first.detail}`);
}

const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** What is wrong with a replayed round, each with its number. */
function faultsOf({ roundIndex, faults }: RoundReplay): RoundReplay['faults'] {
  const name = `round ${roundIndex}`;
  return faults.map(({ code, detail }) => ({ code, detail: detail.startsWith(name) ? detail : `${name}: ${detail}` }));
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
function describeReplay({ roundIndex, made, obstacle, gate, faults }: RoundReplay): string {
  const judged = gate === null ? '' : `; gate: ${gate}`;
  if (made === null) return `${obstacle?.detail ?? `round ${roundIndex}`}${judged}`;
  const { version, updateCount, deviation } = made;
  if (faults.length > 0) return `round ${roundIndex}: version ${version} does not hold, see below`;
  const off = deviation === 0 ? '' : `, within ${(100 * deviation).toPrecision(2)} % of the length of its step`;
  return `round ${roundIndex}: version ${version} made again of ${updateCount} updates${off}${judged}`;
}
