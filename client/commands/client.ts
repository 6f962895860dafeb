/** `tributary client`: takes part in a federation with the rows of this site, until it ends or the client is asked to stop. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatBytes, formatDuration } from '../../shared/command-line/progress.ts';
import { errorMessage, FederationError, UsageError } from '../../shared/core/errors.ts';
import { defaultPolicy, type Policy } from '../../shared/plan/policy.ts';
import { readPolicy } from '../../shared/plan/read-plan.node.ts';
import type { Client } from '../client.ts';
import { createClient } from '../client.ts';
import type { LearningNote } from '../learning-thread/messages.ts';
import { siteLearner } from '../learning-thread/site-learner.node.ts';
import type { ThreadLearner } from '../learning-thread/thread-learner.node.ts';
import { nodePlatform } from '../platform/node.node.ts';
import type { FinishReason } from '../session/machine.ts';
import type { ActivationOptions, BaseComputeOptions, ColumnOptions } from './options.ts';
import {
  activationSettings,
  addActivationOptions,
  addBaseComputeOptions,
  addColumnOptions,
  columnsOf,
  memoryRowsPreset,
  numberIn,
  wholeNumber,
} from './options.ts';
import { registerRotate } from './rotate.ts';
import { heldOutShare } from './site-records.ts';
import type { Tally } from './tally.ts';
import { createTally } from './tally.ts';
import { createWatch } from './watch.ts';
import { registerWithdraw } from './withdraw.ts';

interface Options extends BaseComputeOptions, ColumnOptions, ActivationOptions {
  readonly state: string;
  readonly train: string;
  readonly invite?: string;
  readonly inviteFile?: string;
  readonly heldOut?: string;
  readonly heldOutFraction?: number;
  readonly memoryRows: number;
  readonly policy?: string;
  readonly name: string;
  readonly adapterTask?: string;
}

/** Adds `client`. */
export function registerClient(program: Command, context: CommandContext): void {
  const command = program
    .command('client')
    .option('--state <folder>', 'durable state with the key of this site; made on first use')
    .option('--train <file>', 'rows to train on: .jsonl, .json, .csv, .tsv (each also .gz) or .parquet')
    .addOption(
      new Option(
        '--invite <code>',
        'enrolment code, needed once; a variable or file keeps it out of process lists',
      ).env('TRIBUTARY_INVITE'),
    )
    .option('--invite-file <file>', 'file that holds the enrolment code')
    .option('--held-out <file>', 'rows to evaluate on, which are never trained on')
    .option(
      '--held-out-fraction <share>',
      `instead: share of the rows to hold out, 0 for none (default: ${heldOutShare})`,
      numberIn({ atLeast: 0, below: 1 }),
    )
    .option(
      '--memory-rows <count>',
      'longer files are read anew for every plan, through a temporary file where they do not fit into memory',
      wholeNumber(0),
      memoryRowsPreset,
    )
    .option('--policy <file>', 'what this site agrees to (.yaml, .yml or .json); without it the default policy counts')
    .option('--name <name>', "name of this site in the coordinator's lists", 'client')
    .option('--adapter-task <name>', 'task of this site, where the adapter of a plan serves several')
    .action((options: Partial<Options>) => {
      // Not commander's business: it would ask `client withdraw` for rows to train on.
      for (const [name, value] of [
        ['--state <folder>', options.state],
        ['--train <file>', options.train],
      ])
        if (value === undefined) throw new UsageError('missing-option', `required option '${name}' not specified`);
      return runClient(options as Options, context);
    });
  addActivationOptions(addBaseComputeOptions(addColumnOptions(command)));
  registerWithdraw(command, context);
  registerRotate(command, context);
}

async function runClient(options: Options, context: CommandContext): Promise<void> {
  const invite = await readInvite(options);
  const policy = options.policy === undefined ? defaultPolicy : await readPolicy(options.policy);
  const { train, heldOut, heldOutFraction, memoryRows, adapterTask } = options;
  const learner = await siteLearner({
    records: {
      train,
      memoryRows,
      ...(heldOut === undefined ? {} : { heldOut }),
      ...(heldOutFraction === undefined ? {} : { heldOutFraction }),
    },
    columns: columnsOf(options),
    ...(adapterTask === undefined ? {} : { adapterTask }),
    backend: options.backend,
    threads: options.threads,
    frozenWeights: options.frozenWeights,
    activations: activationSettings(options),
    onNote: (note) => {
      const line = lineOf(note);
      if (line !== null) context.log(line);
    },
  });
  try {
    await takePart({ learner, invite, policy }, options, context);
  } finally {
    await learner.close();
  }
}

/** What the learner says, for people; null for what nobody needs to know. */
function lineOf(note: LearningNote): string | null {
  switch (note.about) {
    case 'rows':
      return `${note.trainCount} rows to train on, ${note.heldOutCount} held out`;
    case 'backend':
      return `computing with ${note.name}`;
    case 'encoded': {
      const { truncatedCount, droppedCount } = note;
      return truncatedCount === 0
        ? null
        : `${truncatedCount} rows cut for their length, ${droppedCount} of them left out`;
    }
    case 'activations':
      return `states of ${note.count} texts below the adapter kept in ${formatBytes(note.bytes)}`;
    case 'privacy':
      return `privacy: ${note.sentence}`;
    default:
      return note satisfies never;
  }
}

async function takePart(
  {
    learner,
    invite,
    policy,
  }: { readonly learner: ThreadLearner; readonly invite: string | undefined; readonly policy: Policy },
  options: Options,
  context: CommandContext,
): Promise<void> {
  context.signal.throwIfAborted();
  const tally = createTally();
  const watch = createWatch(context);
  const client = await createClient({
    platform: await nodePlatform(options.state),
    learner,
    policy,
    name: options.name,
    ...(invite === undefined ? {} : { invite }),
    onEvent: (event) => {
      tally.hear(event);
      watch.hear(event);
    },
  });
  context.log(`this site is ${client.clientId.slice(0, 8)}, fingerprint ${client.fingerprint}`);
  context.log(
    client.consortium === null
      ? 'the coordinator vouches for the keys of clients itself: masks hold against an honest-but-curious coordinator'
      : `members are certified by the consortium with fingerprint ${client.consortium}: compare it with an administrator's`,
  );
  const startedMs = performance.now();
  const end = await client.run(context.signal).finally(() => watch.finish());
  const document = documentOf(client, tally, end, (performance.now() - startedMs) / 1000);
  context.report(document, describeRun(document));
  if (end.kind === 'federation-stopped') throw new FederationError('federation-stopped', end.detail);
  if (end.kind === 'refused') throw new FederationError('not-admitted', end.detail);
}

/** The enrolment code, from wherever it was given; undefined for a site that is enrolled. */
async function readInvite({ invite, inviteFile }: Options): Promise<string | undefined> {
  if (inviteFile === undefined) return invite;
  return readFile(inviteFile, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `cannot read the enrolment code: ${errorMessage(cause)}`, { cause });
  });
}

/** The document of `client --json`. */
type RunDocument = ReturnType<typeof documentOf>;

function documentOf(client: Client, tally: Tally, end: FinishReason, seconds: number) {
  const { bytesUp, bytesDown } = client.traffic();
  return {
    end,
    clientId: client.clientId,
    federationId: client.federationId,
    fingerprint: client.fingerprint,
    consortium: client.consortium,
    /** Rounds that this run contributed to, in their order. */
    rounds: tally.rounds(),
    /** Rounds that this run declined. */
    declined: tally.declined(),
    bytes: { up: bytesUp, down: bytesDown },
    seconds,
  };
}

function describeRun({ end, rounds, declined, bytes, seconds }: RunDocument): string {
  const refusals = declined.length === 0 ? '' : `, declined ${declined.length}`;
  return [
    `${end.kind}: ${end.detail}`,
    `contributed to ${rounds.length} round${rounds.length === 1 ? '' : 's'}${refusals}`,
    `${formatBytes(bytes.up)} up, ${formatBytes(bytes.down)} down in ${formatDuration(1000 * seconds)}`,
  ].join('\n');
}
