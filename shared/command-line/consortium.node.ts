/**
 * `tributary consortium`: what administrators of a consortium do, with files alone and away from every coordinator: make keys, sign members,
 * plans and lists of revocations, rotate and revoke. Whatever needs several keys is passed on from one administrator to the next.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { fromHex, toHex } from '../core/bytes.ts';
import { FormatError, UsageError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import { systemEntropy } from '../crypto/entropy.ts';
import { createSeed, identityFromSeed, takeIdentity } from '../crypto/identity.ts';
import { isSoundPublicKey } from '../crypto/verify.ts';
import { readCertificate } from '../identity/certificate.ts';
import { type Consortium, decodeConsortium, encodeConsortium } from '../identity/consortium.ts';
import { readDocument, writeDocument } from '../identity/documents.ts';
import { describeDocument, revokeSerials, signDocument, signPlan } from '../identity/office.ts';
import { planHashOf } from '../plan/plan.ts';
import { readPlan } from '../plan/read-plan.node.ts';
import type { CommandContext } from './context.ts';
import { fileText, secretText, writeText } from './files.node.ts';

const collect = (value: string, all: readonly string[]): readonly string[] => [...all, value];

interface SignOptions {
  readonly consortium: string;
  readonly key: string;
  readonly out: string;
}

/** Adds `consortium` with its subcommands. */
export function register(program: Command, context: CommandContext): void {
  const consortium = program.command('consortium');
  const signing = (name: string, description: string): Command =>
    consortium
      .command(name)
      .description(description)
      .requiredOption('--consortium <file>', 'the consortium, as `consortium create` wrote it')
      .requiredOption('--key <file>', 'secret key of one administrator')
      .requiredOption('--out <file>', 'where to write the result');
  consortium
    .command('create')
    .description('make a consortium of keys: new ones, or those whose public halves administrators sent')
    .requiredOption('--name <name>', 'what it is called, 1 to 200 characters')
    .requiredOption('--threshold <count>', 'keys that must sign')
    .option('--keys <count>', 'new keys to make here, each to be given to one administrator')
    .option('--public-key <hex>', 'public key of an administrator, any number of them', collect, [])
    .requiredOption('--out <folder>', 'where to write consortium.json and new keys')
    .action((options: CreateOptions) => create(options, context));
  consortium
    .command('key')
    .description('make the key of one administrator; its public half is what `consortium create` takes')
    .requiredOption('--out <file>', 'where to write the secret key')
    .action(async ({ out }: { readonly out: string }) => {
      const publicKey = await makeKey(out);
      context.report({ out, publicKey }, publicKey);
    });
  signing('sign', 'sign a request, a certificate that lacks signatures, or a list of revocations')
    .argument('<document>', 'the file to sign')
    .option('--fingerprint <groups>', 'of a request: the fingerprint that the site read out')
    .option('--days <count>', 'of a request: days for which the certificate is good, at most 366', '365')
    .action(async (file: string, options: SignOptions & { fingerprint?: string; days: string }) => {
      const ports = await portsOf(options, context);
      const document = readDocument(await fileText(file), file);
      const signed = signDocument(document, { ...ports, fingerprint: options.fingerprint, days: daysOf(options.days) });
      await finish(options.out, signed, context, ports.consortium);
    });
  signing('approve-plan', 'sign the digest of a plan, for sites that demand the approval of the consortium')
    .argument('<plan>', 'the plan, or an approval of it that lacks signatures')
    .action(async (file: string, options: SignOptions) => {
      const ports = await portsOf(options, context);
      const isApproval = (await fileText(file)).includes('tributary-plan-approval-1');
      const signed = isApproval
        ? signDocument(readDocument(await fileText(file), file), { ...ports, fingerprint: undefined, days: 0 })
        : signPlan(planHashOf(await readPlan(file)), ports);
      await finish(options.out, signed, context, ports.consortium);
    });
  signing('rotate', 'sign the new key of a site from its proposal; one administrator is enough')
    .argument('<request>', 'certificate of the new key, signed by the old one')
    .action(async (file: string, options: SignOptions) => {
      const ports = await portsOf(options, context);
      const proposal = readDocument(await fileText(file), file);
      requireProposal(proposal, file);
      const signed = signDocument(proposal, { ...ports, fingerprint: undefined, days: 0 });
      await finish(options.out, signed, context, ports.consortium);
    });
  signing('revoke', 'make the next list of revocations; without certificates it renews the last one for a day')
    .argument('[certificates...]', 'certificates to revoke')
    .option('--list <file>', 'the last list, which the new one goes on from')
    .option('--after-rotation', 'the certificates were replaced: they stay good for a day')
    .action(async (files: readonly string[], options: SignOptions & { list?: string; afterRotation?: boolean }) => {
      const ports = await portsOf(options, context);
      if (options.list === undefined)
        context.log('without --list this is the first list: where there was one, give it, or nobody takes this one');
      const last = options.list === undefined ? null : readDocument(await fileText(options.list), options.list);
      const certificates = [];
      for (const file of files) certificates.push(readDocument(await fileText(file), file));
      const signed = revokeSerials(certificates, { ...ports, last, isRotated: options.afterRotation ?? false });
      await finish(options.out, signed, context, ports.consortium);
    });
  consortium
    .command('show')
    .description('say what a document is and who signed it')
    .argument('<document>', 'any document of a consortium')
    .option('--consortium <file>', 'the consortium whose signatures count')
    .action(async (file: string, options: { consortium?: string }) => {
      const known = options.consortium === undefined ? null : await readConsortium(options.consortium);
      const about = describeDocument(readDocument(await fileText(file), file), known, systemClock.nowMs());
      context.report(about, linesOf(about));
    });
}

/** One signature is enough for what the old key of a site signed, so nothing else is signed as that. */
function requireProposal({ kind, bytes }: ReturnType<typeof readDocument>, file: string): void {
  const read = kind === 'certificate' ? readCertificate(bytes) : null;
  if (read?.ok && read.value.certificate.rotation !== null) return;
  throw new UsageError(
    'bad-document',
    `${file} is no proposal of a new key; give what \`tributary client rotate propose\` wrote`,
  );
}

interface CreateOptions {
  readonly name: string;
  readonly threshold: string;
  readonly keys?: string;
  readonly publicKey: readonly string[];
  readonly out: string;
}

async function create(options: CreateOptions, context: CommandContext): Promise<void> {
  const { name, out } = options;
  const keyCount = Number(options.keys ?? 0);
  const threshold = Number(options.threshold);
  if (!Number.isInteger(keyCount) || keyCount < 0 || keyCount > 32 || !Number.isInteger(threshold))
    throw new UsageError('bad-option', '--keys is 0 to 32, --threshold a whole number');
  for (const key of options.publicKey) {
    const isSound = /^[0-9a-f]{64}$/.test(key) && isSoundPublicKey(fromHex(key));
    if (isSound) continue;
    const next = 'give the 64 lower-case hex digits that `consortium key` printed';
    throw new UsageError('bad-option', `--public-key ${key} is no sound Ed25519 key: ${next}`);
  }
  const total = keyCount + new Set(options.publicKey).size;
  if (name.length < 1 || name.length > 200 || threshold < 1 || threshold > total || total > 32) {
    const expected =
      'a name of 1 to 200 characters, at most 32 keys, and a threshold of at least 1 and at most their number';
    throw new UsageError('bad-option', `expected ${expected}; found ${total} keys and threshold ${threshold}`);
  }
  const path = join(out, 'consortium.json');
  const keyFiles = Array.from({ length: keyCount }, (_, index) => join(out, `key-${index + 1}.key`));
  // Before the first file is written: half a consortium is none.
  const there = [path, ...keyFiles].find((file) => existsSync(file));
  if (there !== undefined)
    throw new UsageError('file-exists', `${there} is there already, and is not overwritten; give another --out`);
  const made: string[] = [];
  for (const file of keyFiles) made.push(await makeKey(file));
  const keys = [...new Set([...made, ...options.publicKey])].sort().map(fromHex);
  const bytes = encodeConsortium({ name, threshold, keys });
  const about = describeDocument({ kind: 'consortium', bytes }, null, systemClock.nowMs());
  await writeText(path, writeDocument('consortium', bytes, about), { isNew: true });
  if (keyCount > 0)
    context.log(`give each key to one administrator and keep none of them here, nor on the coordinator`);
  context.report({ out: path, ...about }, linesOf({ out: path, ...about }));
}

/** Makes a secret key at `path`, which must not exist: its public half in hex. */
async function makeKey(path: string): Promise<string> {
  const seed = createSeed(systemEntropy);
  const { publicKey } = identityFromSeed(seed);
  await writeText(path, `${toHex(seed)}\n`, { mode: 0o600, isNew: true });
  seed.fill(0);
  return toHex(publicKey);
}

async function portsOf({ consortium, key }: SignOptions, { log }: Pick<CommandContext, 'log'>) {
  const text = (await secretText(key, log)).trim();
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new UsageError('bad-key-file', `${key} must hold 64 hex digits, as \`consortium key\` writes them`);
  const identity = takeIdentity(fromHex(text));
  return { consortium: await readConsortium(consortium), identity, nowMs: systemClock.nowMs(), entropy: systemEntropy };
}

async function readConsortium(path: string): Promise<Consortium> {
  const { kind, bytes } = readDocument(await fileText(path), path);
  const decoded = decodeConsortium(bytes);
  if (kind === 'consortium' && decoded.ok) return decoded.value;
  throw new UsageError('bad-document', `${path} is no consortium; give the consortium.json of \`consortium create\``);
}

async function finish(
  out: string,
  { kind, bytes }: ReturnType<typeof readDocument>,
  context: CommandContext,
  consortium: Consortium,
): Promise<void> {
  const about = describeDocument({ kind, bytes }, consortium, systemClock.nowMs());
  if (existsSync(out)) await requireReplaceable(out, kind);
  await writeText(out, writeDocument(kind, bytes, about));
  const isWhole =
    about.verdict === undefined
      ? Number.parseInt(String(about.signatures), 10) >= consortium.threshold
      : about.verdict === 'good';
  context.log(
    isWhole
      ? `whole: an operator takes it in with: tributary invite take ${out} --state FOLDER`
      : `not whole yet: another administrator signs it with: tributary consortium sign ${out} --consortium FILE --key FILE --out ${out}`,
  );
  context.report({ out, ...about }, linesOf({ out, ...about }));
}

/** A document takes the place of an earlier one of its kind, and of nothing else: least of all of a key. */
async function requireReplaceable(out: string, kind: ReturnType<typeof readDocument>['kind']): Promise<void> {
  try {
    const found = readDocument(await fileText(out), out).kind;
    if (found === kind || (found === 'request' && kind === 'certificate')) return;
  } catch (thrown) {
    if (!(thrown instanceof FormatError)) throw thrown;
  }
  throw new UsageError(
    'file-exists',
    `${out} is there already and is no ${kind}: it is not overwritten; give another --out`,
  );
}

function linesOf(about: Readonly<Record<string, unknown>>): string {
  return Object.entries(about)
    .map(([name, value]) => `${name.padEnd(14)} ${Array.isArray(value) ? value.join(', ') : String(value)}`)
    .join('\n');
}

function daysOf(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days >= 1 && days <= 366) return days;
  throw new UsageError('bad-option', `--days must be 1 to 366, found ${text}`);
}
