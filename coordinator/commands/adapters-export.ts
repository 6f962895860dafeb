/** `tributary adapters export`: a published version, or an adapter folder, in one of the formats, with its model card. */
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import type { AdapterFormat } from '../../shared/adapters/formats/export-files.ts';
import type { CardPlan } from '../../shared/adapters/formats/model-card.ts';
import type { OpenBase } from '../../shared/adapters/formats/open-base.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { fromHex, utf8 } from '../../shared/core/bytes.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { isMasked } from '../../shared/plan/secure-aggregation.ts';
import { openVersionRecord, type VersionRecord } from '../../shared/protocol/version-record.ts';
import { localNotes, ruleNameOf } from '../aggregation/rules.ts';
import { cardOfBase, nameOf, withBase } from './adapters-base.ts';
import { documentOf, pick, withLibrary } from './adapters-library.ts';

/** What the command line says. */
export interface ExportOptions {
  readonly state?: string;
  readonly version?: string;
  readonly base?: string;
  readonly format: AdapterFormat;
  readonly loraOnly?: boolean;
  /** Which of the tasks of an adapter of several; absent means the whole. */
  readonly task?: string;
  readonly baseName?: string;
  readonly baseLicense?: string;
  readonly name: string;
  readonly out: string;
}

/** What is exported, with what its card tells. */
interface Source {
  readonly document: AdapterDocument;
  readonly base: OpenBase;
  readonly baseName: string;
  readonly baseLicense: string | null;
  readonly records: readonly VersionRecord[];
  readonly signer: string | null;
  readonly plan: CardPlan | null;
  readonly notes: readonly string[];
  /** What of it the report repeats. */
  readonly facts: object;
  readonly words: string;
  /** Of one task out of several: what it is a part of. */
  readonly origin?: string;
}

/** Exports the folder `adapter`, or the version that `options` name. @throws UsageError and FormatError with what can be done. */
export async function exportAdapter(
  adapter: string | undefined,
  options: ExportOptions,
  context: CommandContext,
): Promise<void> {
  const write = async (source: Source): Promise<void> =>
    writeSource(options.task === undefined ? source : await ofTask(source, options.task), options, context);
  if (adapter !== undefined) await fromFolder(adapter, options, context, write);
  else await fromState(options.state!, options, context, write);
}

async function fromFolder(
  folder: string,
  options: ExportOptions,
  context: CommandContext,
  write: (source: Source) => Promise<void>,
): Promise<void> {
  const { readAnyAdapter } = await import('../../shared/adapters/formats/adapter-folders.node.ts');
  await withBase(options.base, context, async ({ base, name, license }) => {
    const { document, notes } = await readAnyAdapter(folder, base);
    await write({
      document,
      base,
      baseName: name,
      baseLicense: license,
      ...lineageOf(document),
      plan: null,
      notes,
      facts: { modelHash: document.modelHash, base: document.base },
      words: `the adapter of ${folder}`,
    });
  });
}

async function fromState(
  folder: string,
  options: ExportOptions,
  context: CommandContext,
  write: (source: Source) => Promise<void>,
): Promise<void> {
  // Loaded here: reading a base costs TensorFlow.js, which lists do not need.
  const [{ contentOfFiles, openBase }, { documentOfVersion }] = await Promise.all([
    import('../../shared/adapters/formats/open-base.ts'),
    import('../library/version-document.ts'),
  ]);
  await withLibrary(folder, async ({ versions, blobs, record, identity }) => {
    const version = pick(versions, options.version);
    const files = new Map<string, Uint8Array>();
    for (const { name, digest } of record.baseFiles) files.set(name, await blobs.get(digest));
    const base = openBase(contentOfFiles(files));
    const card = await cardOfBase(base.description.digest, options.base, context);
    const coordinatorKey = identity.publicKey;
    const source = { record, versions, base: base.description };
    const { document, plan } = await documentOfVersion(source, version, { blobs, coordinatorKey });
    await write({
      document,
      base,
      baseName: card?.name || nameOf(base),
      baseLicense: card?.license ?? null,
      records: versions.slice(0, version.record.versionIndex + 1).map(({ record: own }) => own),
      signer: fingerprint(identity.publicKey),
      plan: cardPlan(plan, version.record.planHash),
      notes: localNotes(document.layout),
      facts: documentOf(version),
      words: `version ${version.record.versionIndex}`,
    });
  });
}

/** The record of an adapter's version and who signed it, as `parseAdapterManifest` checked them; none without a lineage. */
export function lineageOf({ lineage }: Pick<AdapterDocument, 'lineage'>): Pick<Source, 'records' | 'signer'> {
  if (lineage === null) return { records: [], signer: null };
  const key = fromHex(lineage.coordinatorKey);
  const opened = openVersionRecord(key, { record: fromHex(lineage.record), signature: fromHex(lineage.signature) });
  return { records: opened.ok ? [opened.value] : [], signer: fingerprint(key) };
}

/** What a source has for one of its tasks. */
async function ofTask(source: Source, name: string): Promise<Source> {
  const { documentOfTask } = await import('../../shared/adapters/one-task.ts');
  const { document: whole, base } = source;
  const document = documentOfTask(whole, name, base.description);
  const origin = `This is what an adapter of several tasks (model hash ${whole.modelHash}) has for its task ${name}; what was measured in its federation was measured over all tasks.`;
  return {
    ...source,
    document,
    facts: { ...source.facts, task: name, taskModelHash: document.modelHash },
    words: `the task ${name} of ${source.words}`,
    origin,
  };
}

function cardPlan(plan: Plan, planHash: string): CardPlan {
  const { name, rounds, aggregation } = plan;
  return {
    name,
    planHash,
    clientsPerRound: rounds.cohortSize,
    quorum: rounds.quorum,
    roundCount: rounds.count,
    aggregationRule: ruleNameOf(aggregation),
    isMasked: isMasked(plan),
  };
}

async function writeSource(source: Source, options: ExportOptions, context: CommandContext): Promise<void> {
  const [{ exportFiles }, { writeAdapterFiles }, { modelCard }, { className }] = await Promise.all([
    import('../../shared/adapters/formats/export-files.ts'),
    import('../../shared/adapters/formats/adapter-folders.node.ts'),
    import('../../shared/adapters/formats/model-card.ts'),
    import('../../shared/adapters/formats/host-model.ts'),
  ]);
  const { document, base } = source;
  const { format, name, out, loraOnly = false } = options;
  const baseName = options.baseName ?? source.baseName;
  const { files, remarks: written } = exportFiles({ document, base, format, loraOnly, name, baseName });
  const remarks = source.origin === undefined ? written : [source.origin, ...written];
  const card = modelCard({
    manifest: document,
    format,
    baseName,
    baseLicense: options.baseLicense ?? source.baseLicense,
    records: source.records,
    signer: source.signer,
    plan: source.plan,
    className: className(base.description, document.task),
    adapterName: name,
    isHeadless: loraOnly,
    remarks,
  });
  const whole = new Map([['README.md', utf8(card)], ...files]);
  await writeAdapterFiles(out, whole, format);
  for (const line of [...source.notes, ...remarks]) context.log(line);
  const next =
    format === 'tributary'
      ? `; measure it with: tributary evaluate --adapter ${out} --base DIR --data FILE`
      : `, as ${format === 'peft' ? 'PEFT' : 'AdapterHub'} reads it: ${[...whole.keys()].join(', ')}`;
  context.report(
    { ...source.facts, folder: out, format, files: [...whole.keys()], notes: [...source.notes, ...remarks] },
    `${source.words} is in ${out}${next}`,
  );
}
