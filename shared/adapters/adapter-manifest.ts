/**
 * What `adapter.json` says about an adapter outside a federation: enough to refuse it on a base for which it was not made, before one of its
 * tensors is read. Reading is strict: each hash is computed again, and a lineage must be signed.
 */
import * as z from 'zod/mini';
import { fromHex } from '../core/bytes.ts';
import { FormatError, UsageError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import { adapterParametersMax } from '../core/limits.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { parseJsonObject } from '../model/configuration.ts';
import {
  booleanField,
  choiceField,
  digestField,
  numberField,
  sectionField,
  textField,
  wholeField,
} from '../plan/fields.ts';
import type { Plan } from '../plan/plan.ts';
import { planSchema } from '../plan/plan-schema.ts';
import { describeProblems } from '../plan/problems.ts';
import { crossCheckTask } from '../plan/task.ts';
import { openVersionRecord } from '../protocol/version-record.ts';
import type { Metrics } from '../training/metrics.ts';
import { type AdapterLayout, aggregationClasses, layoutDigest, layoutOf } from '../update/layout.ts';

/** The signed version of a federation that an adapter is: canonical record, signature and the coordinator's public key, all in hex. */
export interface AdapterLineage {
  readonly record: string;
  readonly signature: string;
  readonly coordinatorKey: string;
}

/** What `adapter.json` says. */
export interface AdapterManifest {
  readonly base: { readonly digest: Digest; readonly family: string };
  /** Method and settings with defaults filled in. */
  readonly adapter: Plan['adapter'];
  readonly task: Plan['task'];
  /** The adapter's tensors and the head's, in the order of the flat vector. */
  readonly layout: AdapterLayout;
  readonly layoutHash: Digest;
  readonly modelHash: Digest;
  /** Null for an adapter that no federation published. */
  readonly lineage: AdapterLineage | null;
  /** What whoever trained it without a federation measured on rows held out, by their own word; null where nobody did. */
  readonly heldOut: Metrics | null;
}

/** Name of the format, in every manifest. */
export const adapterFormat = 'tributary-adapter-1';
/** Bytes of a manifest: with 2^14 long labels and a layout of thousands of tensors it stays below. */
export const manifestBytesMax = 16 * 1024 * 1024;

const hexField = (what: string) =>
  z
    .string({ error: what })
    .check(z.refine((text) => /^(?:[0-9a-f]{2})+$/.test(text), { error: `${what} in lower-case hex` }));

const lineageSchema = sectionField({
  record: hexField('the record of a version'),
  signature: hexField('a signature'),
  coordinatorKey: hexField('a public key'),
});

const tensorSchema = sectionField({
  name: textField(1024),
  shape: z.array(wholeField(1, adapterParametersMax), { error: 'a list of extents' }),
  aggregationClass: choiceField(aggregationClasses),
  decays: booleanField(),
  learningRateFactor: z.exactOptional(numberField({ above: 0 })),
  countName: z.exactOptional(textField(1024)),
  countIndex: z.exactOptional(wholeField(0, adapterParametersMax)),
  countAxis: z.exactOptional(choiceField(['first', 'last'])),
  foldInto: z.exactOptional(z.array(textField(1024), { error: 'a list of tensor names' })),
  pair: z.exactOptional(sectionField({ name: textField(1024), factor: choiceField(['a', 'b']) })),
});

const metricField = () => z.nullable(numberField({ atLeast: 0 }));

const heldOutSchema = sectionField({
  exampleCount: wholeField(0, Number.MAX_SAFE_INTEGER),
  accuracy: numberField({ atLeast: 0 }),
  macroF1: metricField(),
  microF1: metricField(),
  entityF1: metricField(),
  auroc: metricField(),
  perplexity: metricField(),
  loss: numberField({ atLeast: 0 }),
  calibrationError: numberField({ atLeast: 0 }),
  brier: numberField({ atLeast: 0 }),
});

const manifestSchema = sectionField({
  format: z.literal(adapterFormat, { error: adapterFormat }),
  base: sectionField({ digest: digestField(), family: textField(100) }),
  adapter: planSchema.shape.adapter,
  task: planSchema.shape.task,
  layout: z.array(tensorSchema, { error: 'a list of tensors' }),
  layoutHash: digestField(),
  modelHash: digestField(),
  lineage: z.nullable(lineageSchema),
  heldOut: z.exactOptional(heldOutSchema),
});

/** @throws FormatError `bad-adapter-folder` naming `source`. */
export function refuseAdapter(source: string, problem: string): never {
  throw new FormatError('bad-adapter-folder', `${source}: ${problem}`, { context: { source } });
}

/**
 * Reads `adapter.json`. A lineage must be signed by its own key and speak of this base, this layout and these values; whose key it is, the
 * reader must know.
 * @throws FormatError `bad-json` or `bad-adapter-folder`, naming `source` and the field.
 */
export function parseAdapterManifest(bytes: Uint8Array, source: string): AdapterManifest {
  if (bytes.length > manifestBytesMax)
    return refuseAdapter(source, `a manifest has at most ${manifestBytesMax} bytes, found ${bytes.length}`);
  const value = parseJsonObject(bytes, source);
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const [problem] = describeProblems(parsed.error.issues, value);
    return refuseAdapter(source, `${problem?.path || 'the manifest'} ${problem?.sentence ?? 'is wrong'}`);
  }
  const { format: _, layout: specifications, heldOut = null, ...rest } = parsed.data;
  const layout = layoutOf(specifications);
  const [fault] = crossCheckTask(rest.task);
  if (fault !== undefined) return refuseAdapter(source, `${fault.path} ${fault.sentence}`);
  const names = new Set<string>();
  for (const { name } of specifications) {
    if (names.has(name)) return refuseAdapter(source, `the layout has the tensor ${name} twice`);
    names.add(name);
  }
  if (layout.dim > adapterParametersMax)
    return refuseAdapter(source, `an adapter has at most ${adapterParametersMax} values, the layout ${layout.dim}`);
  const digest = layoutDigest(layout);
  if (digest !== rest.layoutHash)
    return refuseAdapter(source, `layoutHash must be ${digest}, the digest of the layout, found ${rest.layoutHash}`);
  const manifest = { ...rest, layout, heldOut };
  if (manifest.lineage !== null) checkLineage(manifest, manifest.lineage, source);
  return manifest;
}

function checkLineage(manifest: AdapterManifest, lineage: AdapterLineage, source: string): void {
  const sealed = { record: fromHex(lineage.record), signature: fromHex(lineage.signature) };
  const opened = openVersionRecord(fromHex(lineage.coordinatorKey), sealed);
  if (!opened.ok) refuseAdapter(source, `lineage is refused (${opened.error.code}): ${opened.error.detail}`);
  const { baseDigest, layoutHash, modelHash } = opened.value;
  const pairs = [
    ['base.digest', baseDigest, manifest.base.digest],
    ['layoutHash', layoutHash, manifest.layoutHash],
    ['modelHash', modelHash, manifest.modelHash],
  ] as const;
  for (const [field, signed, found] of pairs) {
    if (signed !== found)
      refuseAdapter(source, `${field} must be ${signed}, as the signed record says, found ${found}`);
  }
}

/**
 * Refuses a base for which the adapter was not made. Call it before a tensor is used.
 * @throws UsageError `wrong-base` with both digests.
 */
export function requireBase({ base: made }: AdapterManifest, base: Pick<BaseDescription, 'digest' | 'family'>): void {
  if (made.digest === base.digest) return;
  throw new UsageError(
    'wrong-base',
    `this adapter was made for the ${made.family} with digest ${made.digest}, found the ${base.family} with digest ${base.digest}; ` +
      'use the base that the adapter was trained on',
    { context: { expected: made.digest, found: base.digest } },
  );
}
