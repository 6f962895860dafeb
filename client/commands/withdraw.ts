/** `tributary client withdraw`: this site leaves its federation, or revokes its consent, and hears which versions hold what it contributed. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import * as z from 'zod/mini';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { rangesOf } from '../../shared/command-line/ranges.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import { FederationError, TransportError, UsageError } from '../../shared/core/errors.ts';
import { takeIdentity } from '../../shared/crypto/identity.ts';
import { sealWithdrawal, withdrawalAnswerSchema } from '../../shared/identity/withdrawal.ts';
import { nodePlatform } from '../platform/node.node.ts';

/** Milliseconds for the answer. */
const answerTimeoutMs = 20_000;

/** Adds `client withdraw`. */
export function registerWithdraw(client: Command, context: CommandContext): void {
  client
    .command('withdraw')
    .description(
      'leave the federation for good, signed by the key of this site; says which versions hold its updates, and deletes those that the coordinator could read and retained',
    )
    .option('--state <folder>', 'state folder of this site')
    .action((_, command: Command) => {
      const { state } = command.optsWithGlobals<{ readonly state?: string }>();
      if (state === undefined)
        throw new UsageError('missing-option', "required option '--state <folder>' not specified");
      return withdraw(state, context);
    });
}

async function withdraw(folder: string, context: CommandContext): Promise<void> {
  if (!existsSync(join(folder, 'journal.json')))
    throw new UsageError('not-enrolled', `${folder} holds no site that is enrolled; give the --state of its client`);
  const platform = await nodePlatform(folder);
  const { credentials } = await platform.journal.read();
  if (credentials === null) throw new UsageError('not-enrolled', `${folder} is not enrolled anywhere`);
  const { url, federationId } = credentials;
  const identity = takeIdentity(await platform.identitySeed());
  const request = sealWithdrawal(identity, federationId, platform.clock.nowMs());
  const { status, body } = await platform.requestJson(`${url}/v1/withdraw`, answerTimeoutMs, request);
  const answer = z.safeParse(withdrawalAnswerSchema, body);
  if (!answer.success) {
    const detail = JSON.stringify(body).slice(0, 300);
    if (status === 403) throw new FederationError('withdrawal-refused', `${url} refused the withdrawal: ${detail}`);
    throw new TransportError('no-answer', `${url} gave no answer to the withdrawal (status ${status})`);
  }
  const { direct, all, phases, erased } = answer.data;
  const document = { federationId, clientId: identity.clientId, ...answer.data };
  await platform.evidence.write(
    `${federationId}-withdrawal.json`,
    utf8(`${JSON.stringify({ ...document, request })}\n`),
  );
  const where =
    direct.length === 0
      ? 'no version holds an update of this site'
      : `updates of this site went into versions ${rangesOf(direct)}; versions ${rangesOf(all)} are made of them${ofPhases(phases)}`;
  const next =
    direct.length === 0
      ? ''
      : `\nits operator can go back to the last version without them: tributary adapters rollback --state FOLDER --before-client ${identity.clientId.slice(0, 8)}`;
  const gone =
    erased.length === 0
      ? ''
      : `\nits coordinator deleted the retained updates of rounds ${rangesOf(erased)}, its own among them`;
  context.report(document, `withdrawn: the coordinator lets this site in no more\n${where}${gone}${next}`);
}

function ofPhases(names: readonly string[]): string {
  return names.length === 0 ? '' : `, of the phases ${names.join(', ')}`;
}
