/** `tributary adapters methods`: the adapter methods, where they sit in a base and how much they train there. */
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';

/** Gives `command` its options and its action. */
export function registerMethods(command: Command, context: CommandContext): void {
  command
    .description('list the adapter methods: what they are good for, where they sit, how much they train')
    .option('--base <folder>', 'the base, a folder or hf:owner/name@revision (default: the one that ships)')
    .action((options: { base?: string }) => listMethods(options.base, context));
}

async function listMethods(named: string | undefined, context: CommandContext): Promise<void> {
  const [{ galleryOf }, { describeBase, pretrainedFolder }, { resolveBaseFolder }] = await Promise.all([
    import('../../shared/adapters/gallery.ts'),
    import('../../shared/model/load.node.ts'),
    import('../../shared/model/hub.node.ts'),
  ]);
  const folder = named === undefined ? pretrainedFolder() : await resolveBaseFolder(named, context);
  const base = await describeBase(folder);
  const methods = galleryOf(base);
  const table = formatTable(
    [
      { heading: 'method' },
      { heading: 'trains', align: 'right' },
      { heading: 'where it sits' },
      { heading: 'good for' },
    ],
    methods.map(({ method, parameters, picture, purpose }) => [
      method,
      parameters.toLocaleString('en'),
      picture,
      purpose,
    ]),
  );
  const { family, layerCount, hiddenSize, parameterCount } = base;
  const heading = `on ${folder} (${family}, ${layerCount} layers of ${hiddenSize}, ${parameterCount.toLocaleString('en')} parameters), without a head:`;
  context.report({ base: { family, digest: base.digest, parameterCount }, methods }, `${heading}\n${table}`);
}
