/**
 * `tributary invite`: makes enrolment codes, lists them with the clients that came, approves and revokes clients. Works beside a running
 * coordinator: both look into the same database, and the coordinator asks it anew for every connection and every message that counts.
 */
import { join } from 'node:path';
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { fileText, writeText } from '../../shared/command-line/files.node.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { systemClock } from '../../shared/core/system-clock.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import { fingerprint, type Identity } from '../../shared/crypto/identity.ts';
import { readDocument, requestFormat, writeDocument } from '../../shared/identity/documents.ts';
import { encodeCanonical } from '../../shared/protocol/canonical.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { createAuditLog } from '../audit/audit-log.ts';
import { openAudit } from '../audit/open-audit.ts';
import { approveFingerprint, createInvite, revokeFingerprint } from '../enrolment/invites.ts';
import { createRegistry, type Registry } from '../enrolment/registry.ts';
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
  invite
    .command('requests')
    .description('write requests for certificates of clients that wait, for the administrators of the consortium')
    .option(...stateOption)
    .requiredOption('--out <folder>', 'where to write one file per client')
    .action((_, command: Command) => writeRequests(stateOf(command), command.opts<{ out: string }>().out, context));
  invite
    .command('take')
    .description('take in what the consortium signed: itself, certificates, revocations, the approval of the plan')
    .argument('<files...>', 'documents of `tributary consortium`')
    .option(...stateOption)
    .action((files: readonly string[], _, command: Command) => takeDocuments(stateOf(command), files, context));
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
    const { store } = await openAudit(state, null, systemClock);
    return await action({ ...state, store });
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
    const { code, expiresMs, ...made } = await createInvite({ organisation, approval, url }, ports);
    const expires = new Date(expiresMs).toISOString();
    const next = 'the site runs: tributary client --invite-file FILE --state FOLDER --train ROWS';
    context.log(`for "${organisation}", once, until ${expires}; ${next}`);
    if (made.consortium !== null)
      context.log(
        `it pins the consortium with fingerprint ${made.consortium}: the site compares it with an administrator's`,
      );
    context.report({ code, organisation, url, expires, ...made }, code);
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

/** What the consortium says of a client, in a table. */
const certificateText = (fault: Violation | null): string =>
  fault === null ? 'good' : fault.code === 'pending-client' ? 'not signed yet' : fault.detail;

async function listInvites(folder: string, context: CommandContext): Promise<void> {
  const { invites, clients, isCertified, faults } = await withState(folder, async ({ store, identity }) => {
    const registry = registryOf(store, identity);
    const all = await store.clients();
    const judged = await Promise.all(all.map(({ clientId }) => registry.judge(clientId)));
    return { invites: await store.invites(), clients: all, isCertified: registry.facts() !== null, faults: judged };
  });
  const nowMs = systemClock.nowMs();
  const codes = invites.map(({ organisation, approval, expiresMs, redeemedBy }) => ({
    organisation,
    approval,
    expires: new Date(expiresMs).toISOString(),
    status: redeemedBy !== null ? ('used' as const) : expiresMs <= nowMs ? ('expired' as const) : ('open' as const),
    redeemedBy,
  }));
  const members = clients.map((client, index) => ({
    ...clientDocument(client),
    ...(isCertified ? { certificate: certificateText(faults[index] ?? null) } : {}),
  }));
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
        ...(isCertified ? [{ heading: 'certificate' }] : []),
        { heading: 'fingerprint' },
      ],
      members.map((client) => [
        shorten(client.clientId),
        client.name,
        client.organisation,
        client.status,
        ...('certificate' in client ? [client.certificate] : []),
        client.fingerprint,
      ]),
    ),
  ].join('\n');
  context.report({ invites: codes, clients: members }, text);
}

async function writeRequests(folder: string, out: string, context: CommandContext): Promise<void> {
  const waiting = await withState(folder, async ({ store }) => {
    const clients = (await store.clients()).filter(({ status }) => status !== 'revoked');
    const certified = await Promise.all(clients.map(({ clientId }) => store.documents.get(`certificate/${clientId}`)));
    return clients.filter((_, index) => certified[index] === null);
  });
  const written: { readonly file: string; readonly organisation: string; readonly fingerprint: string }[] = [];
  for (const { clientId, publicKey, organisation } of waiting) {
    const bytes = encodeCanonical(requestFormat, { publicKey: fromHex(publicKey), organisation });
    const about = { organisation, fingerprint: fingerprint(fromHex(publicKey)) };
    const file = join(out, `request-${shorten(clientId)}.json`);
    await writeText(file, writeDocument('request', bytes, about));
    written.push({ file, ...about });
  }
  const lines = written.map(({ file, organisation }) => `${file}: "${organisation}"`);
  const next = 'call each site, and sign with: tributary consortium sign FILE --fingerprint WHAT-IT-READS-OUT …';
  context.report(
    { requests: written },
    lines.length === 0 ? 'no client waits for a certificate' : [...lines, next].join('\n'),
  );
}

async function takeDocuments(folder: string, files: readonly string[], context: CommandContext): Promise<void> {
  const documents: { readonly file: string; readonly document: ReturnType<typeof readDocument> }[] = [];
  for (const file of files) documents.push({ file, document: readDocument(await fileText(file), file) });
  const taken = await withState(folder, async ({ store, identity }) => {
    const registry = registryOf(store, identity);
    const said: string[] = [];
    for (const { file, document } of documents) {
      said.push(
        await registry.take(document).catch((thrown: unknown) => {
          if (!(thrown instanceof UsageError)) throw thrown;
          const before = said.length === 0 ? '' : `; taken before it: ${said.join(', ')}`;
          throw new UsageError(thrown.code, `${file}: ${thrown.message}${before}`, { cause: thrown });
        }),
      );
    }
    return said;
  });
  context.report({ taken }, taken.map((what) => `took ${what}`).join('\n'));
}

function registryOf(store: CoordinatorStore, identity: Identity): Registry {
  const log = createAuditLog({ store: store.log, identity, clock: systemClock });
  return createRegistry({ store, log, clock: systemClock, entropy: systemEntropy });
}

async function change(
  folder: string,
  wanted: string,
  act: (store: CoordinatorStore, wanted: string) => Promise<ClientRecord>,
  context: CommandContext,
): Promise<void> {
  const client = clientDocument(
    await withState(folder, async ({ store }) => {
      if (act === approveFingerprint && (await store.documents.get('consortium')) !== null)
        throw new UsageError(
          'consortium-decides',
          'a consortium says who is a member here: tributary invite requests writes what its administrators sign, and tributary invite take lets the client in',
        );
      return act(store, wanted);
    }),
  );
  context.report(client, `"${client.name}" of "${client.organisation}" is ${client.status}`);
}
