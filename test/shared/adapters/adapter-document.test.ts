import { strict as assert } from 'node:assert';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { createAdapterDocument, encodeAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { readAdapterFolder, writeAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { adapterOnBase } from '../../../shared/adapters/document-on-base.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { bytesOf, toHex } from '../../../shared/core/bytes.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import { parseDigest, parseFederationId } from '../../../shared/core/ids.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import { readSafetensors, tensorValues, writeSafetensors } from '../../../shared/model/safetensors.ts';
import { sealVersionRecord, type VersionRecord } from '../../../shared/protocol/version-record.ts';
import { initialValues, taskLayout } from '../../../shared/training/initial-adapter.ts';
import { bertLike, gpt2Like } from './bases.ts';

const base = bertLike(2, 8, 16);
const adapter = parseAdapter({ method: 'lora', rank: 2 }, base);
const task = { kind: 'classification', labels: ['no', 'yes', 'ask'], pooling: 'first', lengthMax: 64 } as const;
const layout = taskLayout(adapter, base, task);
const parameters = initialValues(layout, adapter, 1);
const document = createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });

/** The document with a signed record of a version; `facts` change what the record says. */
function published(facts: Partial<VersionRecord> = {}): AdapterDocument {
  const identity = identityFromSeed(new Uint8Array(32).fill(7));
  const { record, signature } = sealVersionRecord(identity, {
    federationId: parseFederationId('fe'.repeat(32)),
    versionIndex: 0,
    round: null,
    modelHash: document.modelHash,
    parentModelHash: null,
    baseDigest: base.digest,
    planHash: parseDigest('aa'.repeat(32)),
    layoutHash: document.layoutHash,
    adapterDigest: digestOf(bytesOf(parameters)),
    aggregationRule: 'fedavg',
    contributors: [],
    cohort: [],
    survivorCount: 0,
    rejections: [],
    totalWeight: 0,
    metrics: null,
    measures: [],
    privacy: 'none',
    createdAtMs: 0,
    ...facts,
  });
  const lineage = { record: toHex(record), signature: toHex(signature), coordinatorKey: toHex(identity.publicKey) };
  return { ...document, lineage };
}

describe('adapter folder', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-adapter-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('[ADF-1] what is written comes back, with and without lineage', async () => {
    for (const whole of [document, published()]) {
      await writeAdapterFolder(folder, whole);
      const found = await readAdapterFolder(folder, { base });
      assert.deepEqual({ ...found }, { ...whole });
      assert.deepEqual(adapterOnBase(found, base).tensors, adapter.tensors);
    }
  });

  it('[ADF-2] a base for which it was not made is refused with both digests, before a tensor is read', async () => {
    const other = { ...base, digest: parseDigest('0f'.repeat(32)) };
    await writeAdapterFolder(folder, document);
    await writeFile(join(folder, 'adapter.safetensors'), 'not a tensor');
    const refusal = (error: unknown) =>
      error instanceof FederationError &&
      error.code === 'wrong-base' &&
      error.message.includes(base.digest) &&
      error.message.includes(other.digest);
    await assert.rejects(readAdapterFolder(folder, { base: other }), refusal);
    assert.throws(() => adapterOnBase(document, other), refusal);
  });

  it('[ADF-3] a method that does not have the layout of the manifest on this base is refused', () => {
    const settings = { ...document, adapter: { method: 'lora', rank: 3 } };
    assert.throws(
      () => adapterOnBase(settings, base),
      /has layers\.0\.q\.lora\.a \[3, 8\] on this base where the manifest has layers\.0\.q\.lora\.a \[2, 8\]/,
    );
    const onGpt2 = { ...gpt2Like(2, 8), digest: base.digest };
    assert.throws(
      () => adapterOnBase({ ...document, adapter: { method: 'lora', rank: 2 } }, onGpt2),
      /has layers\.0\.qkv\.lora\.a/,
    );
  });

  it('[ADF-10] classes are the plan’s: a layout whose tensors are averaged otherwise fits as well', () => {
    const tensors = layout.tensors.map((tensor) => ({ ...tensor, aggregationClass: 'frozen' as const }));
    assert.equal(adapterOnBase({ ...document, layout: { ...layout, tensors } }, base).method, 'lora');
  });

  it('[ADF-4] a missing file is named, with what an adapter folder is', async () => {
    await assert.rejects(
      readAdapterFolder(join(folder, 'nothing')),
      /adapter\.json cannot be read: .*an adapter is a folder with/,
    );
    await writeAdapterFolder(folder, document);
    await rm(join(folder, 'adapter.safetensors'));
    await assert.rejects(readAdapterFolder(folder), /adapter\.safetensors cannot be read/);
  });

  it('[ADF-11] a folder of another library is told from one that holds nothing', async () => {
    const foreign = join(folder, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, 'adapter_config.json'), '{}');
    await assert.rejects(
      readAdapterFolder(foreign),
      /foreign holds an adapter of PEFT or AdapterHub, .*adapters import/,
    );
  });

  /** Writes the document with a changed manifest and reads it. */
  async function readChanged(change: (manifest: Record<string, unknown>) => void, whole = document) {
    await writeAdapterFolder(folder, whole);
    const file = join(folder, 'adapter.json');
    const manifest = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    change(manifest);
    await writeFile(file, JSON.stringify(manifest));
    return readAdapterFolder(folder);
  }

  type Tensors = { name: string; shape: number[]; aggregationClass: string; decays: boolean }[];
  const manifestFaults: readonly [string, (manifest: Record<string, unknown>) => void, RegExp][] = [
    [
      'format',
      (manifest) => Object.assign(manifest, { format: 'tributary-adapter-2' }),
      /format must be tributary-adapter-1/,
    ],
    [
      'unknown field',
      (manifest) => Object.assign(manifest, { layouthash: 1 }),
      /layouthash is not a known field; did you mean layoutHash/,
    ],
    ['missing field', (manifest) => delete manifest.task, /task must be a section/],
    [
      'digest',
      (manifest) => Object.assign(manifest, { base: { digest: 'x', family: 'bert' } }),
      /base\.digest must be a digest of 64/,
    ],
    [
      'labels',
      (manifest) => Object.assign(manifest.task as object, { labels: ['a', 'b', 'a'] }),
      /task\.labels\[2\] must differ/,
    ],
    [
      'name',
      (manifest) => Object.assign((manifest.layout as Tensors)[0]!, { name: 'other' }),
      /layoutHash must be [0-9a-f]{64}, the digest of the layout/,
    ],
    [
      'class',
      (manifest) => Object.assign((manifest.layout as Tensors)[0]!, { aggregationClass: 'frozen' }),
      /layoutHash must be/,
    ],
    [
      'shape',
      (manifest) => Object.assign((manifest.layout as Tensors)[0]!, { shape: [0] }),
      /layout\[0\]\.shape\[0\] must be a whole number from 1/,
    ],
    [
      'huge shape',
      (manifest) => Object.assign((manifest.layout as Tensors)[0]!, { shape: [2 ** 25, 3] }),
      /at most 67108864 values, the layout/,
    ],
    [
      'twice',
      (manifest) => (manifest.layout as Tensors).push((manifest.layout as Tensors)[0]!),
      /the tensor layers\.0\.q\.lora\.a twice/,
    ],
    ['order', (manifest) => (manifest.layout as Tensors).reverse(), /layoutHash must be/],
    [
      'model hash',
      (manifest) => Object.assign(manifest, { modelHash: 'ab'.repeat(32) }),
      /one of the files is another adapter's/,
    ],
  ];
  for (const [what, change, message] of manifestFaults) {
    it(`[ADF-5] a manifest with a fault (${what}) is refused`, async () => {
      await assert.rejects(readChanged(change), message);
    });
  }

  it('[ADF-6] a manifest with a key twice, or that is no JSON, is refused', async () => {
    await writeAdapterFolder(folder, document);
    const file = join(folder, 'adapter.json');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('{', '{ "format": "tributary-adapter-1",'));
    await assert.rejects(readAdapterFolder(folder), /the key "format" twice/);
    await writeFile(file, text.slice(1));
    await assert.rejects(readAdapterFolder(folder), /is not JSON/);
  });

  it('[ADF-7] a lineage that is not signed, or speaks of another base, layout or model, is refused', async () => {
    const faults: readonly [Partial<VersionRecord>, RegExp][] = [
      [{ baseDigest: parseDigest('01'.repeat(32)) }, /base\.digest must be (01){32}, as the signed record says/],
      [{ layoutHash: parseDigest('02'.repeat(32)) }, /layoutHash must be (02){32}, as the signed record says/],
      [{ modelHash: parseDigest('03'.repeat(32)) }, /modelHash must be (03){32}, as the signed record says/],
    ];
    for (const [facts, message] of faults)
      await assert.rejects(
        readChanged(() => undefined, published(facts)),
        message,
      );
    const unsigned = (manifest: Record<string, unknown>) =>
      Object.assign(manifest.lineage as object, { signature: '00'.repeat(64) });
    await assert.rejects(readChanged(unsigned, published()), /lineage is refused \(wrong-signature\)/);
    const odd = (manifest: Record<string, unknown>) => Object.assign(manifest.lineage as object, { record: 'abc' });
    await assert.rejects(
      readChanged(odd, published()),
      /lineage\.record must be the record of a version in lower-case hex/,
    );
  });

  type Values = Map<string, { shape: readonly number[]; values: Float32Array }>;
  /** Writes the document with changed tensors and reads it. */
  async function readWithTensors(change: (tensors: Values) => void) {
    await writeAdapterFolder(folder, document);
    const { tensors } = readSafetensors(encodeAdapterDocument(document).tensors, 'test');
    const values: Values = new Map(
      [...tensors].map(([name, entry]) => [name, { shape: entry.shape, values: tensorValues(entry).slice() }]),
    );
    change(values);
    await writeFile(join(folder, 'adapter.safetensors'), writeSafetensors(values));
    return readAdapterFolder(folder);
  }

  const first = 'layers.0.q.lora.a';
  const tensorFaults: readonly [string, (tensors: Values) => void, RegExp][] = [
    ['missing', (tensors) => tensors.delete(first), /the tensor layers\.0\.q\.lora\.a of the layout is missing/],
    [
      'surplus',
      (tensors) => tensors.set('more', { shape: [1], values: new Float32Array(1) }),
      /the tensor more is not in the layout/,
    ],
    [
      'shape',
      (tensors) => tensors.set(first, { ...tensors.get(first)!, shape: [8, 2] }),
      /must have the shape \[2, 8\], found \[8, 2\]/,
    ],
    [
      'not a number',
      (tensors) => tensors.get('head.bias')!.values.fill(Number.NaN),
      /the tensor head\.bias has a value that is not finite \(NaN\)/,
    ],
    [
      'infinite',
      (tensors) => tensors.get(first)!.values.fill(Infinity),
      /the tensor layers\.0\.q\.lora\.a has a value that is not finite/,
    ],
    ['another value', (tensors) => tensors.get(first)!.values.fill(0), /one of the files is another adapter's/],
  ];
  for (const [what, change, message] of tensorFaults) {
    it(`[ADF-8] tensors with a fault (${what}) are refused`, async () => {
      await assert.rejects(readWithTensors(change), message);
    });
  }

  it('[ADF-9] tensors of another type, or cut short, are refused', async () => {
    await writeAdapterFolder(folder, document);
    const file = join(folder, 'adapter.safetensors');
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length - 4));
    await assert.rejects(readAdapterFolder(folder), /is not a valid safetensors file/);
    const asIntegers = Buffer.from(bytes);
    asIntegers.write('I32', asIntegers.indexOf('F32'));
    await writeFile(file, asIntegers);
    await assert.rejects(readAdapterFolder(folder), /must be of type F32, found I32/);
  });
});
