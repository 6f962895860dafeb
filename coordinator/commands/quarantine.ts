/** `tributary quarantine`: who is set aside, why, and letting a client take part again. Works beside a running coordinator. */
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { systemClock } from '../../shared/core/system-clock.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import { openAudit } from '../audit/open-audit.ts';
import { fileOf, type Mark, releaseClient } from '../enrolment/quarantine.ts';
import { ejectionRounds } from '../rounds/state.ts';
import { type CoordinatorState, openExistingState } from '../store/state.ts';
import { shorten } from './describe-event.ts';

const stateOption = ['--state <folder>', 'state folder of the coordinator'] as const;

/** Adds `quarantine` with its subcommands. */
export function register(program: Command, context: CommandContext): void {
  const quarantine = program.command('quarantine');
  quarantine
    .command('list')
    .description('list clients with marks, and those that are set aside')
    .requiredOption(...stateOption)
    .action(({ state }: { state: string }) => list(state, context));
  quarantine
    .command('release')
    .description('let a client take part again, with no marks')
    .argument('<client>', 'the first digits of its id, as `quarantine list` shows them')
    .requiredOption(...stateOption)
    .action((wanted: string, { state }: { state: string }) => release(state, wanted, context));
}

async function withState<Value>(folder: string, action: (state: CoordinatorState) => Promise<Value>): Promise<Value> {
  const state = await openExistingState(folder);
  try {
    return await action(state);
  } finally {
    await state.close();
  }
}

const describeMarks = (marks: readonly Mark[]): string =>
  marks.map(({ roundIndex, reason }) => `${reason} in round ${roundIndex}`).join(', ');

async function list(folder: string, context: CommandContext): Promise<void> {
  const { clients, nextRound } = await withState(folder, async ({ store }) => ({
    clients: await Promise.all(
      (await store.clients()).map(async (client) => ({ client, file: await fileOf(store, client.clientId) })),
    ),
    nextRound: ((await store.rounds()).at(-1)?.roundIndex ?? -1) + 1,
  }));
  const found = clients.flatMap(({ client: { clientId, name, publicKey }, file: { marks, sinceRound, ejectedIn } }) => {
    if (marks.length === 0) return [];
    const askedFrom = ejectedIn === null ? 0 : ejectedIn + 1 + ejectionRounds;
    const outUntil = askedFrom > nextRound ? askedFrom : null;
    return { clientId, name, fingerprint: fingerprint(fromHex(publicKey)), sinceRound, outUntil, marks };
  });
  const table = formatTable(
    [{ heading: 'client' }, { heading: 'name' }, { heading: 'set aside' }, { heading: 'marks' }],
    found.map(({ clientId, name, sinceRound, outUntil, marks }) => [
      shorten(clientId),
      name,
      sinceRound === null ? (outUntil === null ? 'no' : `until round ${outUntil}`) : `since round ${sinceRound}`,
      describeMarks(marks),
    ]),
  );
  context.report({ clients: found }, found.length === 0 ? 'no client has a mark' : table);
}

async function release(folder: string, wanted: string, context: CommandContext): Promise<void> {
  await withState(folder, async (state) => {
    const { store } = state;
    const fitting = (await store.clients()).filter(({ clientId }) => clientId.startsWith(wanted.toLowerCase()));
    const [client] = fitting;
    if (client === undefined || fitting.length > 1 || wanted.length < 4) {
      const found = `${fitting.length} clients have an id that begins with ${wanted}`;
      throw new UsageError('no-such-client', `${found}; give at least 4 digits, see: tributary quarantine list`);
    }
    const { log } = await openAudit(state, null, systemClock);
    const { clientId, name } = client;
    if (!(await releaseClient(store, clientId, log.record)))
      throw new UsageError('not-set-aside', `"${name}" (${shorten(clientId)}) is neither set aside nor was it ejected`);
    context.report({ clientId, name }, `"${name}" (${shorten(clientId)}) takes part again from the next round on`);
  });
}
