/** `tributary adapters list|show`: published versions, one with its checked lineage, and adapter folders. */
import { countedRouting, routingLines, type SiteRouting } from '../../shared/adapters/routing-statistics.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import { headlineMetrics, metricFacts } from '../../shared/training/metrics.ts';
import { layoutDigest, layoutOf } from '../../shared/update/layout.ts';
import { readAdapter } from '../library/lineage.ts';
import { lineageOf } from './adapters-export.ts';
import { documentOf, pick, type VersionDocument, withLibrary } from './adapters-library.ts';
import { describeMeasures, describeMetrics, shorten } from './describe-event.ts';

/** Lists all versions. */
export async function list(folder: string, context: CommandContext): Promise<void> {
  const versions = await withLibrary(folder, async (library) =>
    library.versions.map((version, index) => ({ ...documentOf(version), phase: library.phaseNames[index] ?? null })),
  );
  const hasPhases = versions.some(({ phase }) => phase !== null);
  const digits = (value: number | null): string => value?.toFixed(4) ?? '';
  const measured = headlineMetrics.filter((name) => versions.some(({ metrics }) => (metrics?.[name] ?? null) !== null));
  const table = formatTable(
    [
      { heading: 'version', align: 'right' },
      ...(hasPhases ? [{ heading: 'phase' }] : []),
      { heading: 'round', align: 'right' },
      { heading: 'contributors', align: 'right' },
      ...measured.map((name) => ({ heading: metricFacts[name].title, align: 'right' as const })),
      { heading: 'published' },
      { heading: 'model' },
    ],
    versions.map(({ version, phase, roundIndex, contributors, cohort, metrics, published, modelHash }) => [
      `${version}`,
      ...(hasPhases ? [phase ?? ''] : []),
      roundIndex === null ? 'start' : `${roundIndex}`,
      roundIndex === null ? '' : `${contributors.length} of ${cohort.length}`,
      ...measured.map((name) => digits(metrics?.[name] ?? null)),
      published,
      shorten(modelHash),
    ]),
  );
  context.report({ versions }, table);
}

/** Which tokens the counts of a version are of. */
const countedTokens = 'the tokens of the last round over all clients';

/** Shows one version; checks signatures and lineage, and its bytes. */
export async function show(folder: string, wanted: string | undefined, context: CommandContext): Promise<void> {
  const [version, key] = await withLibrary(folder, async ({ record, versions, phaseNames, blobs, identity }) => {
    const found = pick(versions, wanted);
    const parameters = float32Of(await readAdapter(found, blobs));
    const layout = layoutOf(record.tensors);
    // Other phases have layouts of their own, which need the base.
    const routing = layoutDigest(layout) === found.record.layoutHash ? countedRouting(layout, parameters) : [];
    const phase = phaseNames[found.record.versionIndex] ?? null;
    return [{ ...documentOf(found), phase, routing }, identity.publicKey];
  });
  const coordinator = { publicKey: toHex(key), fingerprint: fingerprint(key) };
  context.report({ ...version, coordinator, checked: true }, describeVersion(version, coordinator.fingerprint));
}

/** A version as it is shown. */
type ShownVersion = VersionDocument & { readonly phase: string | null; readonly routing: readonly SiteRouting[] };

function describeVersion(version: ShownVersion, signer: string): string {
  const { roundIndex, contributors, cohort, rejections, metrics } = version;
  const refused = rejections.map(({ code, count }) => `${count} ${code}`).join(', ');
  return [
    `version ${version.version}, published ${version.published}: signature, lineage and bytes are correct`,
    `  model         ${version.modelHash}`,
    `  parent        ${version.parentModelHash ?? 'none: the adapter before the first round'}`,
    `  base          ${version.baseDigest}`,
    `  plan          ${version.planHash}`,
    `  layout        ${version.layoutHash}`,
    ...(version.phase === null ? [] : [`  phase         ${version.phase}`]),
    `  federation    ${version.federationId}`,
    `  round         ${roundIndex ?? 'none'}${version.roundHash === null ? '' : `, ${version.roundHash}`}`,
    `  contributors  ${contributors.length} of ${cohort.length}${contributors.length === 0 ? '' : `: ${contributors.map(shorten).join(', ')}`}`,
    `  aggregation   ${version.aggregationRule}, total weight ${version.totalWeight}`,
    `  measured      ${version.measures.length === 0 ? 'nothing' : describeMeasures(version.measures)}`,
    `  refused       ${refused === '' ? 'nothing' : refused}`,
    `  metrics       ${metrics === null ? 'none' : describeMetrics(metrics)}`,
    `  privacy       ${version.privacy}`,
    ...routingLines(version.routing, countedTokens),
    `  signed by     ${signer}`,
  ].join('\n');
}

/** Shows an adapter folder of ours: what it is, and its lineage, which is checked where it has one. @throws as `readAdapterFolder`. */
export async function showFolder(folder: string, context: CommandContext): Promise<void> {
  const { readAdapterFolder } = await import('../../shared/adapters/adapter-folder.node.ts');
  const { adapter, task, base, layout, parameters, layoutHash, modelHash, lineage } = await readAdapterFolder(folder);
  const { records, signer } = lineageOf({ lineage });
  const [record = null] = records;
  const labels =
    'labels' in task ? `: ${task.labels.slice(0, 8).join(', ')}${task.labels.length > 8 ? ', …' : ''}` : '';
  const routing = countedRouting(layout, parameters);
  const lines = [
    `${folder}: values and hashes are correct`,
    `  adapter       ${adapter.method}, ${layout.dim} values`,
    `  task          ${task.kind}${labels}`,
    `  model         ${modelHash}`,
    `  base          ${base.digest} (${base.family})`,
    `  layout        ${layoutHash}`,
    ...(record === null || signer === null
      ? ['  lineage       none: no federation published it']
      : [
          `  lineage       version ${record.versionIndex} of federation ${record.federationId}, signature is correct`,
          `  plan          ${record.planHash}`,
          `  round         ${record.round?.roundIndex ?? 'none'}`,
          `  contributors  ${record.contributors.length} of ${record.cohort.length}`,
          `  metrics       ${record.metrics === null ? 'none' : describeMetrics(record.metrics)}`,
          `  privacy       ${record.privacy}`,
          `  signed by     ${signer}; compare it with that of the coordinator you trust`,
        ]),
    ...routingLines(routing, countedTokens),
  ];
  context.report(
    { folder, adapter, task, base, modelHash, layoutHash, dim: layout.dim, record, signer, routing },
    lines.join('\n'),
  );
}
