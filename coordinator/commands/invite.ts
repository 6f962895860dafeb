/**
 * `tributary invite`: makes enrolment codes, lists them with the clients that came, approves and revokes clients. Works beside a running
 * coordinator: both look into the same database, and the coordinator asks it anew for every connection and every message that counts.
 */
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { systemClock } from '../../shared/core/system-clock.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import { approveFingerprint, createInvite, revokeFingerprint } from '../enrolment/invites.ts';
import type { CoordinatorState } from '../store/state.ts';
import { openExistingState } from '../store/state.ts';
import type { ClientRecord, CoordinatorStore, FederationRecord } from '../store/store.ts';
import { shorten } from './describe-event.ts';

interface InviteOptions {
  readonly state: string;
  readonly organisation?: string;
  readonly approval: string;
  readonly url?: string;
}

/** Longest name of an organisation: what a table still shows. */
const organisationCharactersMax = 200;
const stateOption = ['--state <folder>', 'state folder of the coordinator'] as const;

/** Adds `invite` with its subcommands. */
export function registerInvite(program: Command, context: CommandContext): void {
  const invite = program
    .command('invite')
    .option(...stateOption)
    .option('--organisation <name>', 'whom the code is for')
    .option(
      '--approval <how>',
      'automatic, or manual: the fingerprint of the client must be approved as well',
      'automatic',
    )
    .option('--url <url>', 'address of the coordinator as the client reaches it; default: the one of its last start')
    .action(() => {
      const options = invite.opts<Partial<InviteOptions> & Pick<InviteOptions, 'approval'>>();
      return makeInvite({ ...options, state: stateOf(invite) }, context);
    });
  invite
    .command('list')
    .description('list codes and clients')
    .option(...stateOption)
    .action((_, command: Command) => listInvites(stateOf(command), context));
  for (const [name, description, act] of [
    ['approve', 'let a client in that came with a manual code', approveFingerprint],
    ['revoke', 'shut a client out for good; an update that is stored already still counts', revokeFingerprint],
  ] as const) {
    invite
      .command(name)
      .description(description)
      .argument('<fingerprint>', 'as the client shows it, all groups')
      .option(...stateOption)
      .action((wanted: string, _, command: Command) => change(stateOf(command), wanted, act, context));
  }
}

/** `--state` may stand before or after the name of a subcommand. */
function stateOf(command: Command): string {
  const { state } = command.optsWithGlobals<{ readonly state?: string }>();
  if (state === undefined) throw new UsageError('missing-option', 'required option --state <folder> not specified');
  return state;
}

async function withState<Value>(
  folder: string,
  action: (state: CoordinatorState & { readonly record: FederationRecord }) => Promise<Value>,
): Promise<Value> {
  const state = await openExistingState(folder);
  try {
    return await action(state);
  } finally {
    await state.close();
  }
}

async function makeInvite({ state: folder, ...options }: InviteOptions, context: CommandContext): Promise<void> {
  const { organisation, approval } = options;
  if (organisation === undefined || organisation.trim() === '' || organisation.length > organisationCharactersMax)
    throw new UsageError('bad-option', `--organisation must name whom the code is for, in 1 to 200 characters`);
  if (approval !== 'automatic' && approval !== 'manual')
    throw new UsageError('bad-option', `--approval must be automatic or manual, found ${approval}`);
  await withState(folder, async ({ store, identity, record }) => {
    const url = options.url ?? (await store.address());
    if (url === null || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
      const found = url === null ? 'no coordinator has run on this state yet' : `found ${url}`;
      throw new UsageError('bad-option', `--url must be the coordinator's address, https://… or http://…; ${found}`);
    }
    const ports = { store, identity, record, clock: systemClock, entropy: systemEntropy };
    const { code, expiresMs } = await createInvite({ organisation, approval, url }, ports);
    const expires = new Date(expiresMs).toISOString();
    context.log(`for "${organisation}", once, until ${expires}; the site runs: tributary client --invite CODE …`);
    context.report({ code, organisation, approval, url, expires }, code);
  });
}

const clientDocument = (client: ClientRecord) => ({
  clientId: client.clientId,
  name: client.name,
  organisation: client.organisation,
  status: client.status,
  fingerprint: fingerprint(fromHex(client.publicKey)),
  enrolled: new Date(client.enrolledMs).toISOString(),
});

async function listInvites(folder: string, context: CommandContext): Promise<void> {
  const [invites, clients] = await withState(folder, async ({ store }) => [
    await store.invites(),
    await store.clients(),
  ]);
  const nowMs = systemClock.nowMs();
  const codes = invites.map(({ organisation, approval, expiresMs, redeemedBy }) => ({
    organisation,
    approval,
    expires: new Date(expiresMs).toISOString(),
    status: redeemedBy !== null ? ('used' as const) : expiresMs <= nowMs ? ('expired' as const) : ('open' as const),
    redeemedBy,
  }));
  const members = clients.map(clientDocument);
  const text = [
    formatTable(
      [{ heading: 'code for' }, { heading: 'approval' }, { heading: 'status' }, { heading: 'expires' }],
      codes.map(({ organisation, approval, status, expires }) => [organisation, approval, status, expires]),
    ),
    '',
    formatTable(
      [
        { heading: 'client' },
        { heading: 'name' },
        { heading: 'organisation' },
        { heading: 'status' },
        { heading: 'fingerprint' },
      ],
      members.map((client) => [
        shorten(client.clientId),
        client.name,
        client.organisation,
        client.status,
        client.fingerprint,
      ]),
    ),
  ].join('\n');
  context.report({ invites: codes, clients: members }, text);
}

async function change(
  folder: string,
  wanted: string,
  act: (store: CoordinatorStore, wanted: string) => Promise<ClientRecord>,
  context: CommandContext,
): Promise<void> {
  const client = clientDocument(await withState(folder, ({ store }) => act(store, wanted)));
  context.report(client, `"${client.name}" of "${client.organisation}" is ${client.status}`);
}
