/** `tributary doctor`: what this machine can compute with, why not with more, and the line that installs what is missing. */
import { availableParallelism, totalmem } from 'node:os';
import process from 'node:process';
import type { Command } from 'commander';
import { errorMessage, FederationError } from '../core/errors.ts';
import { hubClientInstall } from '../model/hub/client.node.ts';
import type { CommandContext } from './context.ts';
import { formatBytes } from './progress.ts';
import { formatTable } from './table.ts';

/** Version of all TensorFlow.js packages; mixing versions loads two engines. */
const tensorflowVersion = '4.22.0';

/** A back end as the doctor knows it: an optional package has the line that installs it. */
const backends = [
  { name: 'node-gpu', package: '@tensorflow/tfjs-node-gpu', version: tensorflowVersion, optional: true },
  { name: 'node', package: '@tensorflow/tfjs-node', version: tensorflowVersion, optional: true },
  { name: 'native', package: 'onnxruntime-node', version: '1.30.0', optional: false },
  { name: 'wasm', package: '@tensorflow/tfjs-backend-wasm', version: tensorflowVersion, optional: false },
  { name: 'cpu', package: '@tensorflow/tfjs-backend-cpu', version: tensorflowVersion, optional: false },
] as const;

/** Least Node: the first of which strips types and has SQLite without flags. */
const nodeLeast = [22, 18] as const;

/** What the doctor found out about one back end. */
export interface BackendFinding {
  readonly name: (typeof backends)[number]['name'];
  readonly package: string;
  /** Whether the package is installed. */
  readonly found: boolean;
  /** Whether a product and a gradient were computed with it and checked. */
  readonly works: boolean;
  /** Why it does not work; null when it does. */
  readonly reason: string | null;
  /** The command that installs it; null when it is there. */
  readonly install: string | null;
}

/** Everything the doctor found: the document of `doctor --json`. */
export interface Diagnosis {
  readonly node: { readonly version: string; readonly supported: boolean };
  readonly cores: number;
  readonly memoryBytes: number;
  /** Version of the embedded SQLite; null when this Node has none. */
  readonly sqlite: string | null;
  readonly backends: readonly BackendFinding[];
  /** What `--backend auto` takes: the first that works. */
  readonly auto: string | null;
  /** The client of the hub, which fetches bases named `hf:owner/name`; the command that installs it, null when it is there. */
  readonly hubClient: { readonly found: boolean; readonly install: string | null };
}

/** Makes a back end current after checking that it computes. @throws what stands in its way. */
export type BackendProbe = (name: BackendFinding['name']) => Promise<unknown>;

/** Adds `doctor`. */
export function register(program: Command, context: CommandContext): void {
  program.command('doctor').action(async () => {
    const { useBackend } = await import('../compute/backend.ts');
    const diagnosis = await diagnose((name) => useBackend(name));
    context.report(diagnosis, diagnosisText(diagnosis));
    const missing = missingFor(diagnosis);
    if (missing.length > 0) {
      throw new FederationError('machine-not-ready', `this machine cannot run a federation: ${missing.join('; ')}`);
    }
  });
}

/** Looks at this machine. Back ends are probed one after the other, the fastest first. */
export async function diagnose(probe: BackendProbe): Promise<Diagnosis> {
  const findings: BackendFinding[] = [];
  for (const backend of backends) findings.push(await examine(backend, probe));
  const hasHubClient = isInstalled('@huggingface/hub');
  return {
    node: { version: process.versions.node, supported: isSupported(process.versions.node) },
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    sqlite: await sqliteVersion(),
    backends: findings,
    auto: findings.find(({ works }) => works)?.name ?? null,
    hubClient: { found: hasHubClient, install: hasHubClient ? null : hubClientInstall },
  };
}

/** Whether this version of Node runs Tributary: 22.18 and later. */
export function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > nodeLeast[0] || (major === nodeLeast[0] && minor >= nodeLeast[1]);
}

/** The diagnosis for people. */
export function diagnosisText(diagnosis: Diagnosis): string {
  const { node, cores, memoryBytes, sqlite, auto, hubClient } = diagnosis;
  const yes = (holds: boolean) => (holds ? 'yes' : 'no');
  const table = formatTable(
    [{ heading: 'back end' }, { heading: 'found' }, { heading: 'works' }, { heading: 'why not' }],
    diagnosis.backends.map(({ name, found, works, reason }) => [name, yes(found), yes(works), reason ?? '']),
  );
  const installs = diagnosis.backends.filter(({ install }) => install !== null);
  return [
    `Node     ${node.version}${node.supported ? '' : ` (needs ${nodeLeast.join('.')} or later)`}`,
    `cores    ${cores}`,
    `memory   ${formatBytes(memoryBytes)}`,
    `SQLite   ${sqlite ?? 'not in this Node'}`,
    '',
    table,
    '',
    auto === null ? 'No back end works.' : `--backend auto takes ${auto}.`,
    ...installs.map(({ name, install }) => `To add ${name}: ${install}`),
    ...(hubClient.install === null ? [] : [`To fetch bases named hf:owner/name: ${hubClient.install}`]),
  ].join('\n');
}

function missingFor({ node, sqlite, auto }: Diagnosis): string[] {
  const missing: string[] = [];
  if (!node.supported) missing.push(`Node ${node.version} is older than ${nodeLeast.join('.')}`);
  if (sqlite === null) missing.push('this Node has no SQLite');
  if (auto === null) missing.push('no back end works');
  return missing;
}

async function examine(backend: (typeof backends)[number], probe: BackendProbe): Promise<BackendFinding> {
  const found = isInstalled(backend.package);
  const install = found ? null : installLine(backend);
  const fixed = { name: backend.name, package: backend.package, found, install };
  if (!found) return { ...fixed, works: false, reason: 'not installed' };
  try {
    await probe(backend.name);
    return { ...fixed, works: true, reason: null };
  } catch (thrown) {
    return { ...fixed, works: false, reason: errorMessage(thrown).split('\n')[0]! };
  }
}

/** The command that installs a package. Some fetch their library in an install script, which npm runs only when it is allowed. */
export function installLine(what: Pick<(typeof backends)[number], 'package' | 'version' | 'optional'>): string {
  const install = `npm install ${what.package}@${what.version}`;
  return what.optional
    ? `${install} && npm install-scripts approve ${what.package} && npm rebuild ${what.package}`
    : install;
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}

async function sqliteVersion(): Promise<string | null> {
  try {
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(':memory:');
    const row = database.prepare('SELECT sqlite_version() AS version').get();
    database.close();
    return String(row?.version);
  } catch {
    return null;
  }
}
