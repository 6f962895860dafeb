/**
 * `tributary client rotate`: `propose` makes a new key and a certificate for it, signed by the old one; the consortium signs that, its operator
 * takes it in, and `take` puts the new key in the place of the old. Until the old certificate is revoked, a day later, both are good.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { equalBytes, toHex } from '../../shared/core/bytes.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { fingerprint, type Identity, takeIdentity } from '../../shared/crypto/identity.ts';
import { readCertificate } from '../../shared/identity/certificate.ts';
import { readDocument, writeDocument } from '../../shared/identity/documents.ts';
import { proposeRotation } from '../../shared/identity/rotation.ts';
import { nextSeed, useNextSeed } from '../platform/next-key.node.ts';
import { nodePlatform } from '../platform/node.node.ts';
import type { Credentials, Platform } from '../platform/ports.ts';
import { certificateName } from '../trust.ts';
import { wholeNumber } from './options.ts';

/** Adds `client rotate`. */
export function registerRotate(client: Command, context: CommandContext): void {
  const rotate = client.command('rotate').description('replace the key of this site');
  rotate
    .command('propose')
    .description('make a new key and its certificate, signed by the old key, for one administrator of the consortium')
    .option('--state <folder>', 'state folder of this site')
    .option('--certificate <file>', 'certificate of the old key (default: the one that the coordinator showed last)')
    .option('--days <count>', 'days for which the new certificate is good, at most 366', wholeNumber(1), 365)
    .requiredOption('--out <file>', 'where to write the proposal')
    .action((options: ProposeOptions, command: Command) => propose({ ...options, state: stateOf(command) }, context));
  rotate
    .command('take')
    .description('take the new key into use, once its certificate is signed and the operator has taken it in')
    .argument('<certificate>', 'the proposal as the consortium signed it')
    .option('--state <folder>', 'state folder of this site; its client must not run')
    .action((file: string, _, command: Command) => take(file, stateOf(command), context));
}

interface ProposeOptions {
  readonly state: string;
  readonly certificate?: string;
  readonly days: number;
  readonly out: string;
}

function stateOf(command: Command): string {
  const { state } = command.optsWithGlobals<{ readonly state?: string }>();
  if (state === undefined) throw new UsageError('missing-option', "required option '--state <folder>' not specified");
  if (!existsSync(join(state, 'identity.key'))) throw new UsageError('not-enrolled', `${state} holds no key of a site`);
  return state;
}

async function openSite(folder: string): Promise<{
  readonly platform: Platform;
  readonly identity: Identity;
  readonly credentials: Credentials;
}> {
  const platform = await nodePlatform(folder);
  const { credentials } = await platform.journal.read();
  if (credentials === null) throw new UsageError('not-enrolled', `${folder} is not enrolled anywhere`);
  if (credentials.consortium === null)
    throw new UsageError(
      'no-consortium',
      'this federation has no consortium that could certify another key: withdraw, and enrol anew with a new state folder',
    );
  return { platform, credentials, identity: takeIdentity(await platform.identitySeed()) };
}

async function certificateIn(text: string, source: string): Promise<Uint8Array> {
  const { kind, bytes } = readDocument(text, source);
  if (kind !== 'certificate')
    throw new UsageError('wrong-certificate', `${source} is a ${kind}, expected a certificate`);
  return bytes;
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  });
}

async function propose(
  { state, certificate: file, days, out }: ProposeOptions,
  context: CommandContext,
): Promise<void> {
  if (days > 366) throw new UsageError('bad-option', `--days must be at most 366, found ${days}`);
  const { platform, identity, credentials } = await openSite(state);
  const shown = await platform.evidence.read(certificateName(credentials.federationId));
  if (file === undefined && shown === null)
    throw new UsageError('missing-option', 'the coordinator showed no certificate yet: give it with --certificate');
  const text = file === undefined ? new TextDecoder().decode(shown!) : await readText(file);
  const certificate = await certificateIn(text, file ?? 'the kept certificate');
  const next = takeIdentity(await nextSeed(state));
  const bytes = proposeRotation({
    previous: identity,
    certificate,
    nextKey: next.publicKey,
    nowMs: platform.clock.nowMs(),
    entropy: platform.entropy,
    days,
  });
  const about = { clientId: next.clientId, fingerprint: fingerprint(next.publicKey), replaces: identity.clientId };
  await writeFile(out, writeDocument('certificate', bytes, about));
  context.report(
    { out, ...about },
    `${out}: new key ${about.fingerprint}\nan administrator signs it with: tributary consortium rotate ${out} --consortium FILE --key FILE --out SIGNED\nits operator takes it in with: tributary invite take SIGNED; then: tributary client rotate take SIGNED`,
  );
}

async function take(file: string, state: string, context: CommandContext): Promise<void> {
  const { platform, credentials, identity } = await openSite(state);
  const release = await platform.claim();
  try {
    if (!existsSync(join(state, 'next.key')))
      throw new UsageError('no-proposal', 'there is no new key here: make one with `tributary client rotate propose`');
    const bytes = await certificateIn(await readText(file), file);
    const read = readCertificate(bytes);
    const next = takeIdentity(await nextSeed(state));
    if (!read.ok || !equalBytes(read.value.member.publicKey, next.publicKey))
      throw new UsageError('wrong-certificate', `${file} is not the certificate of the new key of this site`);
    const { certificate, member } = read.value;
    if (member.consortium !== credentials.consortium)
      throw new UsageError('wrong-certificate', `${file} is of another consortium than the one that this site pinned`);
    if (certificate.signatures.length === 0)
      throw new UsageError('wrong-certificate', `${file} is not signed by the consortium yet`);
    await useNextSeed(state);
    const entry = await platform.journal.read();
    await platform.journal.write({ ...entry, credentials: { ...credentials, clientId: member.clientId } });
    const document = {
      clientId: member.clientId,
      replaced: identity.clientId,
      fingerprint: fingerprint(next.publicKey),
    };
    context.report(
      { ...document, serial: member.serial, epoch: member.epoch, publicKey: toHex(next.publicKey) },
      `this site is ${document.fingerprint} from now on; the old key is gone from this folder\nrevoke its certificate within a day: tributary consortium revoke OLD-CERTIFICATE --after-rotation …`,
    );
  } finally {
    release();
  }
}
