/**
 * `tributary consortium`: what administrators of a consortium do, with files alone and away from every coordinator: make keys, sign members,
 * plans and lists of revocations, rotate and revoke. Whatever needs several keys is passed on from one administrator to the next.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { fromHex, toHex } from '../core/bytes.ts';
import { errorMessage, UsageError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import { systemEntropy } from '../crypto/entropy.ts';
import { createSeed, identityFromSeed } from '../crypto/identity.ts';
import { type Consortium, decodeConsortium, encodeConsortium } from '../identity/consortium.ts';
import { readDocument, writeDocument } from '../identity/documents.ts';
import { describeDocument, revokeSerials, signDocument, signPlan } from '../identity/office.ts';
import { planHashOf } from '../plan/plan.ts';
import { readPlan } from '../plan/read-plan.node.ts';
import type { CommandContext } from './context.ts';

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
      const ports = await portsOf(options);
      const document = readDocument(await readText(file), file);
      const signed = signDocument(document, { ...ports, fingerprint: options.fingerprint, days: daysOf(options.days) });
      await finish(options.out, signed, context, ports.consortium);
    });
  signing('approve-plan', 'sign the digest of a plan, for sites that demand the approval of the consortium')
    .argument('<plan>', 'the plan, or an approval of it that lacks signatures')
    .action(async (file: string, options: SignOptions) => {
      const ports = await portsOf(options);
      const isApproval = (await readText(file)).includes('tributary-plan-approval-1');
      const signed = isApproval
        ? signDocument(readDocument(await readText(file), file), { ...ports, fingerprint: undefined, days: 0 })
        : signPlan(planHashOf(await readPlan(file)), ports);
      await finish(options.out, signed, context, ports.consortium);
    });
  signing('rotate', 'sign the new key of a site from its proposal; one administrator is enough')
    .argument('<request>', 'certificate of the new key, signed by the old one')
    .action(async (file: string, options: SignOptions) => {
      const ports = await portsOf(options);
      const signed = signDocument(readDocument(await readText(file), file), {
        ...ports,
        fingerprint: undefined,
        days: 0,
      });
      await finish(options.out, signed, context, ports.consortium);
    });
  signing('revoke', 'make the next list of revocations; without certificates it renews the last one for a day')
    .argument('[certificates...]', 'certificates to revoke')
    .option('--list <file>', 'the last list, which the new one goes on from')
    .option('--after-rotation', 'the certificates were replaced: they stay good for a day')
    .action(async (files: readonly string[], options: SignOptions & { list?: string; afterRotation?: boolean }) => {
      const ports = await portsOf(options);
      const last = options.list === undefined ? null : readDocument(await readText(options.list), options.list);
      const certificates = [];
      for (const file of files) certificates.push(readDocument(await readText(file), file));
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
      const about = describeDocument(readDocument(await readText(file), file), known, systemClock.nowMs());
      context.report(about, linesOf(about));
    });
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
  const isHex = options.publicKey.every((key) => /^[0-9a-f]{64}$/.test(key));
  if (!isHex) throw new UsageError('bad-option', '--public-key takes 64 lower-case hex digits');
  const total = keyCount + new Set(options.publicKey).size;
  if (name.length < 1 || name.length > 200 || threshold < 1 || threshold > total || total > 32) {
    const expected =
      'a name of 1 to 200 characters, at most 32 keys, and a threshold of at least 1 and at most their number';
    throw new UsageError('bad-option', `expected ${expected}; found ${total} keys and threshold ${threshold}`);
  }
  const made: string[] = [];
  for (let index = 1; index <= keyCount; index++) made.push(await makeKey(join(out, `key-${index}.key`)));
  const keys = [...new Set([...made, ...options.publicKey])].sort().map(fromHex);
  const bytes = encodeConsortium({ name, threshold, keys });
  const about = describeDocument({ kind: 'consortium', bytes }, null, systemClock.nowMs());
  const path = join(out, 'consortium.json');
  await write(path, writeDocument('consortium', bytes, about), 0o644);
  if (keyCount > 0)
    context.log(`give each key to one administrator and keep none of them here, nor on the coordinator`);
  context.report({ out: path, ...about }, linesOf({ out: path, ...about }));
}

/** Makes a secret key at `path`, which must not exist: its public half in hex. */
async function makeKey(path: string): Promise<string> {
  const seed = createSeed(systemEntropy);
  const { publicKey } = identityFromSeed(seed);
  await write(path, `${toHex(seed)}\n`, 0o600, 'wx');
  seed.fill(0);
  return toHex(publicKey);
}

async function portsOf({ consortium, key }: SignOptions) {
  const text = (await readText(key)).trim();
  if (!/^[0-9a-f]{64}$/.test(text)) throw new UsageError('bad-key-file', `${key} must hold 64 hex digits`);
  const identity = identityFromSeed(fromHex(text));
  return { consortium: await readConsortium(consortium), identity, nowMs: systemClock.nowMs(), entropy: systemEntropy };
}

async function readConsortium(path: string): Promise<Consortium> {
  const { kind, bytes } = readDocument(await readText(path), path);
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
  await write(out, writeDocument(kind, bytes, about), 0o644);
  context.report({ out, ...about }, linesOf({ out, ...about }));
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

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  });
}

async function write(path: string, text: string, mode: number, flag = 'w'): Promise<void> {
  await writeFile(path, text, { mode, flag }).catch((cause: unknown) => {
    throw new UsageError('unwritable-file', `cannot write ${path}: ${errorMessage(cause)}; give a folder that exists`, {
      cause,
    });
  });
}
