/** `tributary adapters`: lists published versions, shows one with its checked lineage, and exports it as an adapter folder. */
import { type Command, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import type { CheckedVersion } from '../library/lineage.ts';
import { checkLineage, readAdapter } from '../library/lineage.ts';
import type { CoordinatorState } from '../store/state.ts';
import { openExistingState } from '../store/state.ts';
import type { FederationRecord } from '../store/store.ts';
import { describeMeasures, describeMetrics, shorten } from './describe-event.ts';

interface Library extends CoordinatorState {
  readonly record: FederationRecord;
  /** All versions, oldest first, with checked signatures and parents. */
  readonly versions: readonly CheckedVersion[];
}

/** Adds `adapters` with its subcommands. */
export function register(program: Command, context: CommandContext): void {
  // `--version` means something else here than before the command: options count where they stand, and the switches that mean the same
  // everywhere are known on both sides.
  program.enablePositionalOptions();
  const withSwitches = (command: Command): Command =>
    command.addOption(new Option('--json').hideHelp()).addOption(new Option('--verbose').hideHelp());
  const adapters = withSwitches(program.command('adapters'));
  const add = (name: string, description: string): Command =>
    withSwitches(adapters.command(name))
      .description(description)
      .requiredOption('--state <folder>', 'state folder of the coordinator');
  const version = ['--version <number>', 'which version; default: the latest'] as const;
  add('list', 'list all versions').action(({ state }: { state: string }) => list(state, context));
  add('show', 'show one version; checks signatures and lineage, and its bytes')
    .option(...version)
    .action(({ state, version: wanted }: { state: string; version?: string }) => show(state, wanted, context));
  add('export', 'write a version as an adapter folder, for tributary evaluate --adapter')
    .option(...version)
    .requiredOption('--out <folder>', 'where to write adapter.json and adapter.safetensors')
    .action(({ state, version: wanted, out }: { state: string; version?: string; out: string }) =>
      exportVersion(state, wanted, out, context),
    );
}

async function withLibrary<Value>(folder: string, action: (library: Library) => Promise<Value>): Promise<Value> {
  const state = await openExistingState(folder);
  try {
    const rows = await state.store.versions();
    const coordinatorKey = state.identity.publicKey;
    const versions = checkLineage(rows, { coordinatorKey, federation: state.record });
    return await action({ ...state, versions });
  } finally {
    await state.close();
  }
}

/** The version that `text` names, the latest without it. */
function pick(versions: readonly CheckedVersion[], text: string | undefined): CheckedVersion {
  const found = text === undefined ? versions.at(-1) : /^\d+$/.test(text) ? versions[Number(text)] : undefined;
  if (found !== undefined) return found;
  const range = versions.length === 0 ? 'there is none yet' : `there are 0 to ${versions.length - 1}`;
  throw new UsageError('no-such-version', `there is no version ${text ?? ''}; ${range}`);
}

/** A version as JSON. */
const documentOf = ({ row, record }: CheckedVersion) => ({
  version: record.versionIndex,
  roundIndex: record.round?.roundIndex ?? null,
  published: new Date(record.createdAtMs).toISOString(),
  modelHash: record.modelHash,
  parentModelHash: record.parentModelHash,
  adapterDigest: record.adapterDigest,
  federationId: record.federationId,
  baseDigest: record.baseDigest,
  planHash: record.planHash,
  layoutHash: record.layoutHash,
  roundHash: record.round?.roundHash ?? null,
  transcriptHash: record.round?.transcriptHash ?? null,
  aggregationRule: record.aggregationRule,
  contributors: record.contributors,
  cohort: record.cohort,
  rejections: record.rejections,
  totalWeight: record.totalWeight,
  metrics: record.metrics,
  measures: record.measures,
  privacy: record.privacy,
  signature: row.signature,
});
type VersionDocument = ReturnType<typeof documentOf>;

async function list(folder: string, context: CommandContext): Promise<void> {
  const versions = await withLibrary(folder, async (library) => library.versions.map(documentOf));
  const digits = (value: number | undefined): string => value?.toFixed(4) ?? '';
  const table = formatTable(
    [
      { heading: 'version', align: 'right' },
      { heading: 'round', align: 'right' },
      { heading: 'contributors', align: 'right' },
      { heading: 'accuracy', align: 'right' },
      { heading: 'macro-F1', align: 'right' },
      { heading: 'loss', align: 'right' },
      { heading: 'published' },
      { heading: 'model' },
    ],
    versions.map(({ version, roundIndex, contributors, cohort, metrics, published, modelHash }) => [
      `${version}`,
      roundIndex === null ? 'start' : `${roundIndex}`,
      roundIndex === null ? '' : `${contributors.length} of ${cohort.length}`,
      digits(metrics?.accuracy),
      digits(metrics?.macroF1),
      digits(metrics?.loss),
      published,
      shorten(modelHash),
    ]),
  );
  context.report({ versions }, table);
}

async function show(folder: string, wanted: string | undefined, context: CommandContext): Promise<void> {
  const [version, key] = await withLibrary(folder, async ({ versions, blobs, identity }) => {
    const found = pick(versions, wanted);
    await readAdapter(found, blobs);
    return [documentOf(found), identity.publicKey];
  });
  const coordinator = { publicKey: toHex(key), fingerprint: fingerprint(key) };
  context.report({ ...version, coordinator, checked: true }, describeVersion(version, coordinator.fingerprint));
}

function describeVersion(version: VersionDocument, signer: string): string {
  const { roundIndex, contributors, cohort, rejections, metrics } = version;
  const refused = rejections.map(({ code, count }) => `${count} ${code}`).join(', ');
  return [
    `version ${version.version}, published ${version.published}: signature, lineage and bytes are correct`,
    `  model         ${version.modelHash}`,
    `  parent        ${version.parentModelHash ?? 'none: the adapter before the first round'}`,
    `  base          ${version.baseDigest}`,
    `  plan          ${version.planHash}`,
    `  layout        ${version.layoutHash}`,
    `  federation    ${version.federationId}`,
    `  round         ${roundIndex ?? 'none'}${version.roundHash === null ? '' : `, ${version.roundHash}`}`,
    `  contributors  ${contributors.length} of ${cohort.length}${contributors.length === 0 ? '' : `: ${contributors.map(shorten).join(', ')}`}`,
    `  aggregation   ${version.aggregationRule}, total weight ${version.totalWeight}`,
    `  measured      ${version.measures.length === 0 ? 'nothing' : describeMeasures(version.measures)}`,
    `  refused       ${refused === '' ? 'nothing' : refused}`,
    `  metrics       ${metrics === null ? 'none' : describeMetrics(metrics)}`,
    `  privacy       ${version.privacy}`,
    `  signed by     ${signer}`,
  ].join('\n');
}

async function exportVersion(
  folder: string,
  wanted: string | undefined,
  out: string,
  context: CommandContext,
): Promise<void> {
  // Loaded here: reading a base costs TensorFlow.js, which lists do not need.
  const { createAdapterDocument } = await import('../../shared/adapters/adapter-document.ts');
  const { writeAdapterFolder } = await import('../../shared/adapters/adapter-folder.node.ts');
  const { parseAdapter } = await import('../../shared/adapters/registry.ts');
  const { describeFiles } = await import('../../shared/model/load.ts');
  const exported = await withLibrary(folder, async ({ versions, blobs, record, identity }) => {
    const version = pick(versions, wanted);
    const parameters = float32Of(await readAdapter(version, blobs));
    const files = new Map<string, Uint8Array>();
    for (const { name, digest } of record.baseFiles) files.set(name, await blobs.get(digest));
    const base = describeFiles(files);
    const plan = parsePlan(JSON.parse(record.plan), `the plan in ${folder}`);
    const { configuration: adapter } = parseAdapter(plan.adapter, base);
    const { record: encoded, signature } = version.row;
    const lineage = { record: encoded, signature, coordinatorKey: toHex(identity.publicKey) };
    const { task } = plan;
    const layout = layoutOf(record.tensors);
    await writeAdapterFolder(out, createAdapterDocument({ base, adapter, task, layout, parameters, lineage }));
    return documentOf(version);
  });
  context.report(
    { ...exported, folder: out },
    `version ${exported.version} is in ${out}; measure it with: tributary evaluate --adapter ${out} --base DIR --data FILE`,
  );
}
