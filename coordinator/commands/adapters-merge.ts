/** `tributary adapters merge`: an adapter and its base as one plain checkpoint. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WrittenType } from '../../shared/adapters/formats/narrow-floats.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatBytes } from '../../shared/command-line/progress.ts';
import { withBase } from './adapters-base.ts';
import { lineageOf } from './adapters-export.ts';

/** What the command line says. */
export interface MergeOptions {
  readonly base?: string;
  readonly out: string;
  readonly dtype?: WrittenType;
  readonly shardSize: number;
}

/** Merges the adapter of a folder. @throws UsageError `wrong-base`, `not-mergeable` with the nearest thing that works, `folder-not-empty`. */
export async function mergeAdapter(adapter: string, options: MergeOptions, context: CommandContext): Promise<void> {
  const [{ readAnyAdapter }, { mergeCheckpoint }, { modelCard }, { className }, { describeBase }] = await Promise.all([
    import('../../shared/adapters/formats/adapter-folders.node.ts'),
    import('../../shared/adapters/formats/merge.node.ts'),
    import('../../shared/adapters/formats/model-card.ts'),
    import('../../shared/adapters/formats/host-model.ts'),
    import('../../shared/model/load.node.ts'),
  ]);
  const { out, dtype, shardSize } = options;
  const { document, notes, folder, description, baseName, baseLicense } = await withBase(
    options.base,
    context,
    async (named) => {
      const read = await readAnyAdapter(adapter, named.base);
      const { folder: baseFolder, name, license, base } = named;
      return { ...read, folder: baseFolder, description: base.description, baseName: name, baseLicense: license };
    },
  );
  for (const note of notes) context.log(note);
  const progress = context.progress({ label: 'merging', unit: 'bytes' });
  const merged = await mergeCheckpoint({
    base: folder,
    document,
    out,
    ...(dtype === undefined ? {} : { type: dtype }),
    shardBytesMax: shardSize,
    onProgress: (done) => {
      context.signal.throwIfAborted();
      progress.update(done);
    },
  });
  progress.finish();
  for (const remark of merged.remarks) context.log(remark);
  if (merged.type !== 'F32') context.log(`merged values are rounded to ${merged.type}; --dtype F32 keeps them`);
  context.log(
    `the base stays as it is, and is the exact way back: out of merged weights an adapter comes again only up to their rounding to ${merged.type}`,
  );
  const card = modelCard({
    manifest: document,
    format: 'merged',
    baseName,
    baseLicense,
    ...lineageOf(document),
    plan: null,
    className: className(description, document.task),
    adapterName: '',
    isHeadless: false,
    remarks: [
      ...merged.remarks,
      `Merged: base and adapter are one checkpoint here, ${merged.changedCount} of ${merged.tensorCount} tensors differ from the base's.`,
    ],
  });
  await writeFile(join(out, 'README.md'), card);
  // Read again: what was written must be a base like any other.
  const { digest } = await describeBase(out);
  const fileCount = merged.files.filter((name) => name.endsWith('.safetensors')).length;
  context.report(
    { ...merged, folder: out, digest, modelHash: document.modelHash, base: document.base },
    `${out} holds ${formatBytes(merged.byteCount)} of ${merged.type} weights in ${fileCount === 1 ? 'one file' : `${fileCount} files`}, ` +
      `${merged.changedCount} of ${merged.tensorCount} tensors merged; its digest as a base is ${digest}`,
  );
}
