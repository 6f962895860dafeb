/** `tributary adapters import`: an adapter of PEFT or AdapterHub as a folder of ours. */
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { withBase } from './adapters-base.ts';

/** What the command line says. */
export interface ImportOptions {
  readonly base: string;
  readonly out: string;
  readonly labels?: readonly string[];
  readonly length?: number;
}

/** Imports. @throws UsageError `wrong-base` with both digests; FormatError naming file, field and tensor. */
export async function importAdapter(folder: string, options: ImportOptions, context: CommandContext): Promise<void> {
  const [{ readAnyAdapter, writeAdapterFiles }, { encodeAdapterDocument }] = await Promise.all([
    import('../../shared/adapters/formats/adapter-folders.node.ts'),
    import('../../shared/adapters/adapter-document.ts'),
  ]);
  const { out, labels, length } = options;
  const { document, format, notes } = await withBase(options.base, context, (named) =>
    readAnyAdapter(folder, named.base, {
      ...(labels === undefined ? {} : { labels }),
      ...(length === undefined ? {} : { lengthMax: length }),
    }),
  );
  if (format === 'tributary') throw new UsageError('wrong-use', `${folder} is an adapter folder of ours already`);
  const { manifest, tensors } = encodeAdapterDocument(document);
  const files = new Map([
    ['adapter.safetensors', tensors],
    ['adapter.json', manifest],
  ]);
  await writeAdapterFiles(out, files, 'tributary');
  for (const note of notes) context.log(note);
  const { adapter, task, modelHash, layout } = document;
  const kind = 'labels' in task ? `${task.kind} with ${task.labels.length} labels` : task.kind;
  context.report(
    {
      folder: out,
      format,
      base: document.base,
      adapter,
      task,
      modelHash,
      parameters: layout.dim,
      lineage: document.lineage !== null,
      notes,
    },
    `${folder} is in ${out}: ${adapter.method}, ${layout.dim} values, for ${kind}, bound to the base with digest ${document.base.digest}`,
  );
}
