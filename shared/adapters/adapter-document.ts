/** A whole adapter outside a federation: what it is (`adapter.json`) and its tensors (`adapter.safetensors`). */
import { assert } from '../core/assert.ts';
import { bytesOf, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { readSafetensors, tensorValues, writeSafetensors } from '../model/safetensors.ts';
import type { Metrics } from '../training/metrics.ts';
import { contentOf } from '../update/content.ts';
import { layoutDigest, specificationOf } from '../update/layout.ts';
import { modelHashOf } from '../update/model-hash.ts';
import { firstNonFinite, flatten, unflatten } from '../update/vector.ts';
import { type AdapterLineage, type AdapterManifest, adapterFormat, refuseAdapter } from './adapter-manifest.ts';

/** A whole adapter; `parameters` `[dim]` are in layout order. */
export interface AdapterDocument extends AdapterManifest {
  readonly parameters: Float32Array;
}

/** Makes a document: fills in the hashes. */
export function createAdapterDocument({
  base,
  lineage = null,
  heldOut = null,
  ...rest
}: Pick<AdapterDocument, 'adapter' | 'task' | 'layout' | 'parameters'> & {
  readonly base: Pick<BaseDescription, 'digest' | 'family'>;
  readonly lineage?: AdapterLineage | null;
  readonly heldOut?: Metrics | null;
}): AdapterDocument {
  assert(
    rest.parameters.length === rest.layout.dim,
    `the layout has ${rest.layout.dim} values, found ${rest.parameters.length}`,
  );
  return {
    ...rest,
    base: { digest: base.digest, family: base.family },
    lineage,
    heldOut,
    layoutHash: layoutDigest(rest.layout),
    modelHash: modelHashOf(base.digest, bytesOf(rest.parameters)),
  };
}

/** The content of an adapter as a member of a composition names it: its values without those of its head. */
export function contentOfDocument({ base, layout, parameters }: AdapterDocument): Digest {
  return contentOf({ baseDigest: base.digest, layout, values: parameters });
}

/** The bytes of `adapter.json` and of `adapter.safetensors`. */
export function encodeAdapterDocument(document: AdapterDocument): {
  readonly manifest: Uint8Array;
  readonly tensors: Uint8Array;
} {
  const { base, adapter, task, layout, layoutHash, modelHash, lineage, heldOut, parameters } = document;
  const specifications = layout.tensors.map(specificationOf);
  const manifest = {
    format: adapterFormat,
    base,
    adapter,
    task,
    layout: specifications,
    layoutHash,
    modelHash,
    lineage,
    ...(heldOut === null ? {} : { heldOut }),
  };
  const values = unflatten(layout, parameters);
  const tensors = new Map(layout.tensors.map(({ name, shape }) => [name, { shape, values: values.get(name)! }]));
  return { manifest: utf8(`${JSON.stringify(manifest, null, 2)}\n`), tensors: writeSafetensors(tensors) };
}

/**
 * Reads `adapter.safetensors`: exactly the tensors of the layout, float32, finite, with the manifest's model hash.
 * @throws FormatError `bad-safetensors` or `bad-adapter-folder`, naming `source` and the tensor.
 */
export function readAdapterTensors(manifest: AdapterManifest, bytes: Uint8Array, source: string): AdapterDocument {
  const { layout, base, modelHash } = manifest;
  const file = readSafetensors(bytes, source);
  for (const { name, shape } of layout.tensors) {
    const entry = file.tensors.get(name);
    if (entry === undefined) return refuseAdapter(source, `the tensor ${name} of the layout is missing`);
    if (entry.dtype !== 'F32')
      return refuseAdapter(source, `the tensor ${name} must be of type F32, found ${entry.dtype}`);
    if (entry.shape.join() !== shape.join())
      return refuseAdapter(
        source,
        `the tensor ${name} must have the shape [${shape.join(', ')}], found [${entry.shape.join(', ')}]`,
      );
  }
  const known = new Set(layout.tensors.map(({ name }) => name));
  const surplus = [...file.tensors.keys()].find((name) => !known.has(name));
  if (surplus !== undefined) return refuseAdapter(source, `the tensor ${surplus} is not in the layout`);
  const parameters = flatten(layout, new Map([...file.tensors].map(([name, entry]) => [name, tensorValues(entry)])));
  const wrong = firstNonFinite(parameters);
  if (wrong !== null) {
    const tensor = layout.tensors.find(({ offset, size }) => wrong >= offset && wrong < offset + size);
    return refuseAdapter(source, `the tensor ${tensor?.name} has a value that is not finite (${parameters[wrong]})`);
  }
  const hash = modelHashOf(base.digest, bytesOf(parameters));
  if (hash !== modelHash)
    return refuseAdapter(
      source,
      `its values have the model hash ${hash}, the manifest says ${modelHash}: one of the files is another adapter's`,
    );
  return { ...manifest, parameters };
}
