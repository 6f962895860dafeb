/** Brings an adapter document and a base together. */
import { FormatError } from '../core/errors.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { classifierLayout } from '../training/initial-adapter.ts';
import { layoutDigest } from '../update/layout.ts';
import { type AdapterManifest, requireBase } from './adapter-manifest.ts';
import { type BoundAdapter, parseAdapter } from './registry.ts';

/**
 * The adapter of a document, bound to the base it was made for; its values are the document's `parameters`, in layout order.
 * @throws UsageError `wrong-base` with both digests; FormatError `bad-adapter-folder` when method and layout do not fit each other.
 */
export function adapterOnBase(manifest: AdapterManifest, base: BaseDescription): BoundAdapter {
  requireBase(manifest, base);
  const adapter = parseAdapter(manifest.adapter, base);
  const labelCount = manifest.task.labels.length;
  const layoutHash = layoutDigest(classifierLayout(adapter, { hiddenSize: base.hiddenSize, labelCount }));
  if (layoutHash !== manifest.layoutHash) {
    throw new FormatError(
      'bad-adapter-folder',
      `the adapter ${adapter.method} with a head of ${labelCount} labels has the layout ${layoutHash} on this base, the manifest says ${manifest.layoutHash}`,
    );
  }
  return adapter;
}
