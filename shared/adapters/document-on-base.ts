/** Brings an adapter document and a base together. */
import { FormatError } from '../core/errors.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { taskLayout } from '../training/initial-adapter.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { type AdapterManifest, requireBase } from './adapter-manifest.ts';
import { type BoundAdapter, parseAdapter } from './registry.ts';

/**
 * The adapter of a document, bound to the base it was made for; its values are the document's `parameters`, in layout order.
 * @throws UsageError `wrong-base` with both digests; FormatError `bad-adapter-folder` when method and layout do not fit each other.
 */
export function adapterOnBase(manifest: AdapterManifest, base: BaseDescription): BoundAdapter {
  requireBase(manifest, base);
  const adapter = parseAdapter(manifest.adapter, base);
  const layout = taskLayout(adapter, base, manifest.task);
  const needed = layout.tensors.map(shapeText);
  const found = manifest.layout.tensors.map(shapeText);
  const place = needed.findIndex((text, index) => text !== found[index]);
  if (place !== -1 || needed.length !== found.length) {
    const index = place === -1 ? needed.length : place;
    throw new FormatError(
      'bad-adapter-folder',
      `the adapter ${adapter.method} for the task ${manifest.task.kind} has ${needed[index] ?? 'no more tensors'} on this base where the manifest has ${found[index] ?? 'none'}`,
    );
  }
  return adapter;
}

/** A tensor's name and shape. Its class is the plan's: of one adapter, federations may average other tensors. */
function shapeText({ name, shape }: TensorSpecification): string {
  return `${name} [${shape.join(', ')}]`;
}
