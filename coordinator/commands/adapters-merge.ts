/** `tributary adapters merge`: an adapter and its base as one plain checkpoint. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WrittenType } from '../../shared/adapters/formats/narrow-floats.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatBytes } from '../../shared/command-line/progress.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { fingerprint } from '../../shared/crypto/identity.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';

/** What the command line says. */
export interface MergeOptions {
  readonly base: string;
  readonly adapter: string;
  readonly out: string;
  readonly dtype?: WrittenType;
  readonly shardSize: number;
}

/** Merges. @throws UsageError `wrong-base`, `not-mergeable` with the nearest thing that works, `folder-not-empty`. */
export async function mergeAdapter(options: MergeOptions, context: CommandContext): Promise<void> {
  const [{ licenseOf, readAnyAdapter }, { openBase }, { mergeCheckpoint }, { modelCard }, { className }, load] =
    await Promise.all([
      import('../../shared/adapters/formats/adapter-folders.node.ts'),
      import('../../shared/adapters/formats/open-base.ts'),
      import('../../shared/adapters/formats/merge.node.ts'),
      import('../../shared/adapters/formats/model-card.ts'),
      import('../../shared/adapters/formats/host-model.ts'),
      import('../../shared/model/load.node.ts'),
    ]);
  const { base: folder, out, dtype, shardSize } = options;
  const { document, notes, description, baseName } = await load.withFolder(folder, async (content) => {
    const base = openBase(content);
    const read = await readAnyAdapter(options.adapter, base);
    const named = base.configuration._name_or_path;
    return { ...read, description: base.description, baseName: typeof named === 'string' ? named : '' };
  });
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
  const { lineage } = document;
  const opened =
    lineage === null
      ? null
      : openVersionRecord(fromHex(lineage.coordinatorKey), {
          record: fromHex(lineage.record),
          signature: fromHex(lineage.signature),
        });
  const card = modelCard({
    manifest: document,
    format: 'merged',
    baseName,
    baseLicense: await licenseOf(folder),
    records: opened?.ok === true ? [opened.value] : [],
    signer: lineage === null ? null : fingerprint(fromHex(lineage.coordinatorKey)),
    plan: null,
    className: className(description, document.task),
    adapterName: '',
    isHeadless: false,
    remarks: [
      `Merged: base and adapter are one checkpoint here, ${merged.changedCount} of ${merged.tensorCount} tensors differ from the base's.`,
    ],
  });
  await writeFile(join(out, 'README.md'), card);
  // Read again: what was written must be a base like any other.
  const { digest } = await load.describeBase(out);
  context.report(
    { ...merged, folder: out, digest, modelHash: document.modelHash, base: document.base },
    `${out} holds ${formatBytes(merged.byteCount)} of ${merged.type} weights in ${merged.files.filter((name) => name.endsWith('.safetensors')).length} file(s), ` +
      `${merged.changedCount} of ${merged.tensorCount} tensors merged; its digest as a base is ${digest}`,
  );
}
