/**
 * `tributary adapters`: lists and shows published versions, writes adapters in the formats of other libraries and reads theirs, merges an
 * adapter into its base, and serves adapters.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { registerCombine } from './adapters-combine.ts';
import type { ExportOptions } from './adapters-export.ts';
import type { ImportOptions } from './adapters-import.ts';
import type { MergeOptions } from './adapters-merge.ts';
import { registerMethods } from './adapters-methods.ts';
import type { RollbackOptions } from './adapters-rollback.ts';
import { registerServe } from './adapters-serve.ts';
import { list, show, showFolder } from './adapters-show.ts';

/** Adds `adapters` with its subcommands. */
export function register(program: Command, context: CommandContext): void {
  // `--version` means something else here than before the command: options count where they stand, and the switches that mean the same
  // everywhere are known on both sides.
  program.enablePositionalOptions();
  const withSwitches = (command: Command): Command =>
    command.addOption(new Option('--json').hideHelp()).addOption(new Option('--verbose').hideHelp());
  const adapters = withSwitches(program.command('adapters'));
  const add = (name: string, description: string): Command =>
    withSwitches(adapters.command(name)).description(description);
  const state = ['--state <folder>', 'state folder of the coordinator'] as const;
  const version = ['--version <number>', 'which version; default: the latest'] as const;
  add('list', 'list all versions')
    .requiredOption(...state)
    .action((options: { state: string }) => list(options.state, context));
  add('show', 'show one version, or an adapter folder; checks signatures and lineage, and its bytes')
    .argument('[adapter]', 'an adapter folder, in place of --state')
    .option(...state)
    .option(...version)
    .action((adapter: string | undefined, options: { state?: string; version?: string }) => {
      requireOneSource(adapter, options.state);
      return adapter === undefined ? show(options.state!, options.version, context) : showFolder(adapter, context);
    });
  addExport(add('export', 'write a version, or an adapter folder, in a format that other tools open'), {
    state,
    version,
    context,
  });
  add('import', 'read an adapter of PEFT or AdapterHub as a folder for evaluate, merge and the rest')
    .argument(
      '<folder>',
      'adapter_config.json with adapter_model.safetensors (PEFT) or adapter.safetensors (AdapterHub)',
    )
    .requiredOption(
      '--base <folder>',
      'the base model that it was trained on, a folder or hf:owner/name@revision; foreign files do not say which that is',
    )
    .requiredOption('--out <folder>', 'where to write adapter.json and adapter.safetensors')
    .option('--labels <names>', 'labels in the order of the head’s outputs, with commas between them', namesOf)
    .option('--length <tokens>', 'longest text in tokens', wholeNumber)
    .action(async (folder: string, options: ImportOptions) => {
      const { importAdapter } = await import('./adapters-import.ts');
      await importAdapter(folder, options, context);
    });
  add(
    'rollback',
    'make an earlier version the latest again, for example after a site withdrew; recorded in the log. Deletes nothing: versions stay in the library, and retained updates of a site went when it withdrew',
  )
    .requiredOption(...state)
    .option('--before-client <id>', 'the last version without an update of this client (its id, or the first 8 digits)')
    .option('--to-version <number>', 'this version')
    .action(async (options: RollbackOptions) => {
      const { rollback } = await import('./adapters-rollback.ts');
      await rollback(options, context);
    });
  add('merge', 'write an adapter and its base as one plain checkpoint')
    .argument('<adapter>', 'an adapter folder in any of the formats')
    .option(
      '--base <folder>',
      'the base model that the adapter was trained on, a folder or hf:owner/name@revision (default: the one that ships)',
    )
    .requiredOption('--out <folder>', 'where to write the checkpoint')
    .addOption(
      new Option('--dtype <type>', 'type of the weights (default: as in the base)').choices(['F32', 'F16', 'BF16']),
    )
    .addOption(
      new Option('--shard-size <size>', 'largest file, such as 500MB or 2GB')
        .argParser(bytesOf)
        .default(bytesOf('5GB'), '5GB'),
    )
    .action(async (adapter: string, options: MergeOptions) => {
      const { mergeAdapter } = await import('./adapters-merge.ts');
      await mergeAdapter(adapter, options, context);
    });
  registerCombine(withSwitches(adapters.command('combine <folders...>')), context);
  registerMethods(withSwitches(adapters.command('methods')), context);
  registerServe(withSwitches(adapters.command('serve')), context);
}

function addExport(
  command: Command,
  {
    state,
    version,
    context,
  }: {
    readonly state: readonly [string, string];
    readonly version: readonly [string, string];
    readonly context: CommandContext;
  },
): void {
  command
    .argument('[adapter]', 'an adapter folder in any of the formats, in place of --state')
    .option(...state)
    .option(...version)
    .option(
      '--base <folder>',
      'the base, a folder or hf:owner/name@revision (default: the one that ships); with --state for its name and licence alone',
    )
    .addOption(
      new Option('--format <format>', 'whose files to write')
        .choices(['tributary', 'peft', 'adapterhub'])
        .default('tributary'),
    )
    .option('--task <name>', 'one task of an adapter of several, with the head that it has (default: the whole)')
    .option('--lora-only', 'leave the trained head out, for servers that refuse saved modules')
    .option(
      '--base-name <name>',
      'what to load the base by, on the Hub or on disk (default: as its configuration says)',
    )
    .option('--base-license <id>', 'licence of the base for the model card (default: as the card of the base says)')
    .addOption(
      new Option('--name <name>', 'name of the adapter in files of AdapterHub')
        .default('tributary')
        .argParser(adapterName),
    )
    .requiredOption('--out <folder>', 'where to write the files')
    .action(async (adapter: string | undefined, options: ExportOptions) => {
      requireOneSource(adapter, options.state);
      const { exportAdapter } = await import('./adapters-export.ts');
      await exportAdapter(adapter, options, context);
    });
}

function requireOneSource(adapter: string | undefined, state: string | undefined): void {
  if ((adapter === undefined) === (state === undefined))
    throw new UsageError('wrong-use', 'name either an adapter folder or the --state of a coordinator, and not both');
}

function namesOf(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.length < 2 || names.includes(''))
    throw new InvalidArgumentError('expected at least two names, as in no,yes');
  return names;
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a whole number above 0');
}

function adapterName(text: string): string {
  // A dot would end the name within the name of a tensor.
  if (/^[A-Za-z0-9_-]{1,100}$/.test(text)) return text;
  throw new InvalidArgumentError('expected letters, digits, _ and -');
}

/** Bytes of `2GB`: powers of 1000, as the Hub counts. */
function bytesOf(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([kMG])B$/i.exec(text) ?? [];
  const size = Number(digits) * { k: 1e3, m: 1e6, g: 1e9 }[unit?.toLowerCase() as 'k' | 'm' | 'g'];
  if (size >= 1) return Math.floor(size);
  throw new InvalidArgumentError('expected a size such as 500MB or 2GB');
}
