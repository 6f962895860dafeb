/**
 * `tributary adapters combine`: one adapter folder from several. A merge makes one adapter of the same method out of their parameters; a
 * composition keeps them side by side, frozen or not, and may be trained further.
 */
import { basename, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { type MergeKind, mergeKinds } from '../../shared/adapters/merging/kinds.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';

const compositions = ['stack', 'fuse', 'average', 'batch-split'] as const;
type Kind = MergeKind | (typeof compositions)[number];

interface CombineOptions {
  readonly kind?: Kind;
  readonly weights?: readonly number[];
  readonly density: number;
  readonly rank?: number;
  readonly seed: number;
  readonly base?: string;
  readonly ids?: readonly string[];
  readonly settings?: string;
  readonly like?: string;
  readonly texts?: readonly string[];
  readonly closest: number;
  readonly out: string;
}

/** Gives `command` (which takes the folders) its options and its action. */
export function registerCombine(command: Command, context: CommandContext): void {
  command
    .description('merge adapters of one method into one, or compose adapters side by side')
    .addOption(
      new Option('--kind <kind>', 'how (default: svd for lora, else linear)').choices([...mergeKinds, ...compositions]),
    )
    .option(
      '--weights <numbers>',
      'one for each adapter, such as 0.7,0.3 (default: the same for all, with the sum 1)',
      numbers,
    )
    .option('--density <share>', 'of ties, magnitude-prune, dare-*: the share of values that stays', number, 0.5)
    .option('--rank <number>', 'of svd: rank of the result (default: the largest)', number)
    .option('--seed <number>', 'of dare-* and of what a composition adds', number, 1)
    .option(
      '--base <folder>',
      'of compositions: the base for which the adapters were made, a folder or hf:owner/name@revision',
    )
    .option('--ids <names>', 'of compositions: names of the members (default: those of the folders)', names)
    .option('--settings <json>', 'of compositions: further settings, such as \'{"rank": 16}\' of fuse')
    .option(
      '--like <file>',
      'of average: weigh by similarity to these texts, of a task that no adapter was trained for',
    )
    .option('--texts <files>', 'with --like: texts of every adapter, in their order, separated by commas', names)
    .option('--closest <count>', 'with --like: how many adapters are averaged', number, 2)
    .requiredOption('--out <folder>', 'where to write adapter.json and adapter.safetensors')
    .action((folders: string[], options: CombineOptions) => combine(folders, options, context));
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('Expected a number.');
  return value;
}

function numbers(text: string): number[] {
  return text.split(',').map(number);
}

function names(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

async function combine(folders: readonly string[], options: CombineOptions, context: CommandContext): Promise<void> {
  const { readAdapterFolder, writeAdapterFolder } = await import('../../shared/adapters/adapter-folder.node.ts');
  const documents = await Promise.all(folders.map((folder) => readAdapterFolder(folder)));
  const kind = options.kind ?? (documents[0]?.adapter.method === 'lora' ? 'svd' : 'linear');
  const isMerge = (mergeKinds as readonly string[]).includes(kind);
  const { document, discarded } = isMerge
    ? await merge(documents, kind as MergeKind, options)
    : { document: await compose({ folders, documents, method: kind, options }, context), discarded: null };
  await writeAdapterFolder(options.out, document);
  const { method } = document.adapter;
  const lines = [
    `${folders.length} adapters combined by ${kind}: ${method}, ${document.layout.dim} values with the head`,
    `  model   ${document.modelHash}`,
    ...(discarded === null
      ? []
      : [`  svd     leaves out at most ${(100 * discarded).toFixed(2)} % of the norm of a map`]),
    `  written ${options.out}`,
  ];
  const report = {
    kind,
    method,
    modelHash: document.modelHash,
    layoutHash: document.layoutHash,
    discarded,
    out: options.out,
  };
  context.report(report, lines.join('\n'));
}

async function merge(documents: readonly AdapterDocument[], kind: MergeKind, options: CombineOptions) {
  const { mergeDocuments } = await import('../../shared/adapters/merging/merge-documents.ts');
  const { density, seed, rank, weights = documents.map(() => 1 / documents.length) } = options;
  return mergeDocuments(documents, { kind, weights, density, seed, ...(rank === undefined ? {} : { rank }) });
}

interface Composing {
  readonly folders: readonly string[];
  readonly documents: readonly AdapterDocument[];
  readonly method: string;
  readonly options: CombineOptions;
}

/** The weights that were asked for, or those that similarity gives; undefined for neither. */
async function weightsOf(
  base: string,
  { folders, method, options: { like, texts = [], closest, weights } }: Composing,
  context: CommandContext,
): Promise<readonly number[] | undefined> {
  if (like === undefined) return weights;
  const refuse = (problem: string): never => {
    throw new UsageError('bad-option', problem);
  };
  if (method !== 'average') refuse(`--like is for --kind average, found ${method}`);
  if (weights !== undefined) refuse('--like gives the weights, so --weights must be left out');
  if (texts.length !== folders.length)
    refuse(`--like needs --texts with a file for each of the ${folders.length} adapters, found ${texts.length}`);
  const { similarWeights } = await import('./adapters-similar.ts');
  return similarWeights({ base, texts, like, closest }, context);
}

async function compose(composing: Composing, context: CommandContext): Promise<AdapterDocument> {
  const { folders, documents, method, options } = composing;
  const { base: named, ids, settings, seed } = options;
  if (named === undefined)
    throw new UsageError(
      'missing-base',
      `${method} needs --base with the folder of the base for which the adapters were made`,
    );
  if (ids !== undefined && ids.length !== folders.length)
    throw new UsageError('bad-ids', `--ids must name each of the ${folders.length} adapters, found ${ids.length}`);
  const [{ resolveBaseFolder }, { describeBase }, { composeDocuments }] = await Promise.all([
    import('../../shared/model/hub.node.ts'),
    import('../../shared/model/load.node.ts'),
    import('../../shared/adapters/composition/compose-documents.ts'),
  ]);
  const folder = await resolveBaseFolder(named, context);
  const weights = await weightsOf(folder, composing, context);
  const further = settings === undefined ? {} : parseSettings(settings);
  const members = documents.map((document, index) => {
    return { id: ids?.[index] ?? basename(resolve(folders[index]!)), document };
  });
  return composeDocuments({
    method,
    settings: { ...further, ...(weights === undefined ? {} : { weights }) },
    members,
    base: await describeBase(folder),
    task: documents[0]!.task,
    seed,
  });
}

function parseSettings(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new UsageError('bad-settings', `--settings must be a JSON object, found ${text.slice(0, 60)}`);
}
