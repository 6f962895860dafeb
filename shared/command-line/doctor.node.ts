/** `tributary doctor`: what this machine can compute with, why not with more, and the line that installs what is missing. */
import { availableParallelism, totalmem } from 'node:os';
import process from 'node:process';
import type { Command } from 'commander';
import { backendNames } from '../compute/backend-names.ts';
import { errorMessage, FederationError } from '../core/errors.ts';
import { hubClientInstall } from '../model/hub/client.node.ts';
import type { CommandContext } from './context.ts';
import { isSupported, nodeLeast } from './node-version.ts';
import { formatBytes } from './progress.ts';
import { formatTable } from './table.ts';

/** Version of all TensorFlow.js packages; mixing versions loads two engines. */
const tensorflowVersion = '4.22.0';

/** Packages with the versions that are meant; those that fetch their library in an install script need it to be allowed. */
interface BackendPackages {
  readonly packages: readonly { readonly name: string; readonly version: string }[];
  readonly hasInstallScript: boolean;
  /** What else the machine must have; null where any will do. */
  readonly needs: string | null;
}

const tensorflowPackage = (name: string) => ({ name: `@tensorflow/${name}`, version: tensorflowVersion });

/** The back ends of Node as the doctor knows them, in the order of `auto`. */
const backends: Readonly<Record<(typeof backendNames)[number], BackendPackages>> = {
  'node-gpu': {
    packages: [tensorflowPackage('tfjs-node-gpu')],
    hasInstallScript: true,
    needs: 'a card of NVIDIA, CUDA 11.2 and cuDNN 8.1',
  },
  webgpu: {
    packages: [{ name: 'webgpu', version: '0.6.2' }, tensorflowPackage('tfjs-backend-webgpu')],
    hasInstallScript: false,
    needs: 'a graphics card',
  },
  node: { packages: [tensorflowPackage('tfjs-node')], hasInstallScript: true, needs: null },
  native: { packages: [{ name: 'onnxruntime-node', version: '1.30.0' }], hasInstallScript: false, needs: null },
  wasm: { packages: [tensorflowPackage('tfjs-backend-wasm')], hasInstallScript: false, needs: null },
  cpu: { packages: [tensorflowPackage('tfjs-backend-cpu')], hasInstallScript: false, needs: null },
};

/** What a back end did when it was tried. */
export interface ProbedBackend {
  /** The graphics device; null where it is the processor. */
  readonly device: string | null;
  /** Whether it imitates in software a device that is not there: it works, and `auto` passes it by. */
  readonly isSoftware: boolean;
  /** Bytes that it can hold, for a graphics device in one tensor; null where the machine's memory ends it. */
  readonly memoryBytesMax: number | null;
  /** Billions of operations per second in a product of matrices. */
  readonly gflops: number;
}

/** What the doctor found out about one back end. */
export interface BackendFinding {
  readonly name: (typeof backendNames)[number];
  readonly packages: readonly string[];
  /** Whether its packages are installed. */
  readonly found: boolean;
  /** Whether a product and a gradient were computed with it and checked. */
  readonly works: boolean;
  /** Why it does not work, or why `auto` does not take it though it does; null otherwise. */
  readonly reason: string | null;
  /** What it computes on and how fast; null where it does not work. */
  readonly probed: ProbedBackend | null;
  /** The command that installs or repairs it; null when nothing is missing. */
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
  /** What `--backend auto` takes: the first that works and is no imitation in software. */
  readonly auto: string | null;
  /** The client of the hub, which fetches bases named `hf:owner/name`; the command that installs it, null when it is there. */
  readonly hubClient: { readonly found: boolean; readonly install: string | null };
}

/** Makes a back end current after checking that it computes, and measures it. @throws what stands in its way. */
export type BackendProbe = (name: BackendFinding['name']) => Promise<ProbedBackend>;

/** Adds `doctor`. */
export function register(program: Command, context: CommandContext): void {
  program.command('doctor').action(async () => {
    const diagnosis = await diagnose(probe);
    context.report(diagnosis, diagnosisText(diagnosis));
    const missing = missingFor(diagnosis);
    if (missing.length > 0) {
      throw new FederationError('machine-not-ready', `this machine cannot run a federation: ${missing.join('; ')}`);
    }
  });
}

/** Starts a back end for good, as `--backend NAME` does, and measures it. */
export async function probe(name: BackendFinding['name']): Promise<ProbedBackend> {
  const [{ useBackend }, { measureSpeed }] = await Promise.all([
    import('../compute/backend.ts'),
    import('../compute/speed.ts'),
  ]);
  const { device, isSoftware, memoryBytesMax } = await useBackend(name);
  return { device, isSoftware, memoryBytesMax, gflops: await measureSpeed(() => performance.now()) };
}

/** Looks at this machine. Back ends are probed one after the other, the fastest first. */
export async function diagnose(probe: BackendProbe): Promise<Diagnosis> {
  const findings: BackendFinding[] = [];
  for (const name of backendNames) findings.push(await examine(name, probe));
  const hasHubClient = isInstalled('@huggingface/hub');
  return {
    node: { version: process.versions.node, supported: isSupported(process.versions.node) },
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    sqlite: await sqliteVersion(),
    backends: findings,
    auto: findings.find(({ probed }) => probed?.isSoftware === false)?.name ?? null,
    hubClient: { found: hasHubClient, install: hasHubClient ? null : hubClientInstall },
  };
}

/** The diagnosis for people. */
export function diagnosisText(diagnosis: Diagnosis): string {
  const { node, cores, memoryBytes, sqlite, auto, hubClient } = diagnosis;
  const yes = (holds: boolean) => (holds ? 'yes' : 'no');
  const table = formatTable(
    [
      { heading: 'back end' },
      { heading: 'found' },
      { heading: 'works' },
      { heading: 'GFLOP/s', align: 'right' },
      { heading: 'memory', align: 'right' },
      { heading: 'on' },
      { heading: 'why not' },
    ],
    diagnosis.backends.map(({ name, found, works, reason, probed }) => [
      name,
      yes(found),
      yes(works),
      probed === null ? '' : probed.gflops.toFixed(probed.gflops < 10 ? 1 : 0),
      probed === null ? '' : memoryText(probed, memoryBytes),
      probed === null ? '' : (probed.device ?? 'processor'),
      reason ?? '',
    ]),
  );
  const installs = diagnosis.backends.filter(({ install }) => install !== null);
  return [
    `Node     ${node.version}${node.supported ? '' : ` (needs ${nodeLeast} or later)`}`,
    `cores    ${cores}`,
    `memory   ${formatBytes(memoryBytes)}`,
    `SQLite   ${sqlite ?? 'not in this Node'}`,
    '',
    table,
    '',
    auto === null ? 'No back end works.' : `--backend auto takes ${auto}.`,
    ...installs.map(({ name, found, install }) => {
      const { needs } = backends[name];
      return `To ${found ? 'repair' : 'add'} ${name}${needs === null ? '' : ` (needs ${needs})`}: ${install}`;
    }),
    ...(hubClient.install === null ? [] : [`To fetch bases named hf:owner/name: ${hubClient.install}`]),
  ].join('\n');
}

/** What a back end can hold: no more than the machine, except for graphics devices, which limit single tensors. */
function memoryText({ device, memoryBytesMax }: ProbedBackend, machineBytes: number): string {
  if (memoryBytesMax === null) return device === null ? formatBytes(machineBytes) : '?';
  return device === null
    ? formatBytes(Math.min(memoryBytesMax, machineBytes))
    : `${formatBytes(memoryBytesMax)}/tensor`;
}

function missingFor({ node, sqlite, auto }: Diagnosis): string[] {
  const missing: string[] = [];
  if (!node.supported) missing.push(`Node ${node.version} is older than ${nodeLeast}`);
  if (sqlite === null) missing.push('this Node has no SQLite');
  if (auto === null) missing.push('no back end works');
  return missing;
}

async function examine(name: BackendFinding['name'], probe: BackendProbe): Promise<BackendFinding> {
  const packages = backends[name].packages.map((one) => one.name);
  const missing = packages.filter((one) => !isInstalled(one));
  const found = missing.length === 0;
  const install = found ? null : installLine(name);
  const fixed = { name, packages, found, install };
  if (!found) {
    const reason = missing.length === packages.length ? 'not installed' : `${missing.join(', ')} is not installed`;
    return { ...fixed, works: false, reason, probed: null };
  }
  try {
    const probed = await probe(name);
    const reason = probed.isSoftware ? 'software in place of a graphics card: auto passes it by' : null;
    return { ...fixed, works: true, reason, probed };
  } catch (thrown) {
    // The back end's own reason, without the advice for those who asked for it by name.
    const cause = thrown instanceof FederationError && thrown.cause !== undefined ? thrown.cause : thrown;
    const reason = errorMessage(cause).split('\n')[0]!.trim();
    return { ...fixed, works: false, reason, probed: null, install: repairOf(name, reason) };
  }
}

/** The line that repairs a broken installation; null where the packages are whole and the machine lacks something. */
function repairOf(name: BackendFinding['name'], reason: string): string | null {
  if (lacksLibrary.test(reason)) return repairLine(name);
  if (!reason.includes(' does not load: ') || lacksSystemLibrary.test(reason)) return null;
  // npm leaves a package alone that it believes to be there.
  const names = backends[name].packages.map((one) => one.name).join(' ');
  return `npm uninstall ${names} && ${installLine(name)}`;
}

/** What the native packages say when npm did not run their install script, which fetches their library. */
const lacksLibrary = /native addon module .* can ?not be found/i;

/** What the loader of libraries says when the system lacks one that a whole package needs: CUDA, or a newer C library. */
const lacksSystemLibrary = /cannot open shared object file|version `[\w.]+' not found|image not found/i;

/** The command that installs a back end. Some fetch their library in an install script, which npm runs only when it is allowed. */
export function installLine(name: BackendFinding['name']): string {
  const { packages, hasInstallScript } = backends[name];
  const install = `npm install ${packages.map((one) => `${one.name}@${one.version}`).join(' ')}`;
  return hasInstallScript ? `${install} && ${repairLine(name)}` : install;
}

function repairLine(name: BackendFinding['name']): string {
  const names = backends[name].packages.map((one) => one.name).join(' ');
  return `npm install-scripts approve ${names} && npm rebuild ${names}`;
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
