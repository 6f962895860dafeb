/** Writes an adapter and its base as a checkpoint of their own, tensor by tensor: memory holds the largest linear map, not the model. */
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from '../../core/errors.ts';
import { type ByteSource, forEachPiece } from '../../model/byte-source.ts';
import { withFolder } from '../../model/load.node.ts';
import { describe, examineBase } from '../../model/load.ts';
import type { StoredTensor } from '../../model/safetensors-header.ts';
import { readWeights } from '../../model/shards.ts';
import { fillValues, valueCountOf } from '../../model/stored-tensor.ts';
import { unflatten } from '../../update/vector.ts';
import type { AdapterDocument } from '../adapter-document.ts';
import { adapterOnBase } from '../document-on-base.ts';
import { byteCountOf, type OutgoingTensor, writeWeights } from './checkpoint-writer.node.ts';
import { headOf } from './document-head.ts';
import { headRemark, writeHead } from './heads.ts';
import { hostConfiguration, hostModelOf, isHeadTensor, requirePooling } from './host-model.ts';
import { mergerOf, requireMergeable } from './merge.ts';
import { modulesOf } from './module-paths.ts';
import { narrowBytes, type WrittenType, writtenTypes } from './narrow-floats.ts';

/** Files that go with a checkpoint and stay as they are. */
const companions = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'generation_config.json',
];

/** Values of one piece of a tensor that is converted. */
const pieceValues = 2 ** 20;

/** What {@link mergeCheckpoint} needs. */
export interface MergeCheckpointRequest {
  /** Folder of the base. */
  readonly base: string;
  readonly document: AdapterDocument;
  readonly out: string;
  /** Type of all floats; as in the base where it is left out. */
  readonly type?: WrittenType;
  readonly shardBytesMax: number;
  /** Called before every tensor with the bytes that are written; may throw to stop. */
  readonly onProgress?: (bytesDone: number) => void;
}

/** What was written. */
export interface MergedCheckpoint {
  /** Names of the files in `out`. */
  readonly files: readonly string[];
  readonly tensorCount: number;
  /** Tensors that the adapter changed. */
  readonly changedCount: number;
  readonly byteCount: number;
  readonly type: WrittenType;
  /** What a reader has to know, one line each. */
  readonly remarks: readonly string[];
}

/**
 * Merges. The base is checked by its digest before any of its tensors is merged.
 * @throws UsageError `wrong-base`, `not-mergeable`, `not-exportable`, `value-too-large`; FormatError for a broken base.
 */
export async function mergeCheckpoint(request: MergeCheckpointRequest): Promise<MergedCheckpoint> {
  const { document, out, shardBytesMax, onProgress } = request;
  const { task, layout } = document;
  return withFolder(request.base, async (content) => {
    const examined = examineBase(content);
    const base = describe(examined);
    const adapter = adapterOnBase(document, base);
    requireMergeable(adapter);
    const weights = readWeights(content);
    const type = request.type ?? commonType(weights.values());
    const parameters = unflatten(layout, document.parameters);
    const valuesOf = (name: string): Float32Array | null => {
      const stored = weights.get(name);
      if (stored === undefined) return null;
      const values = new Float32Array(valueCountOf(stored));
      fillValues(stored, values);
      return values;
    };
    // The same place in the same file is the same tensor.
    const sources = new Map<ByteSource, number>();
    const placeOf = ({ source, offset }: StoredTensor): string => {
      if (!sources.has(source)) sources.set(source, sources.size);
      return `${sources.get(source)} ${offset}`;
    };
    const currentNames = new Map([...examined.tensors].map(([name, stored]) => [placeOf(stored), name]));
    const currentName = (name: string): string | undefined => currentNames.get(placeOf(weights.get(name)!));
    const merged = mergerOf({ base, adapter, parameters, tensor: valuesOf, currentName });
    const host = hostModelOf(task);
    const prefix = `${modulesOf(base).model}.`;
    const isPrefixed = [...weights.keys()].some((name) => name.startsWith(prefix));
    const baseTensor = (name: string): Float32Array => {
      const values = valuesOf(isPrefixed ? prefix + name : name);
      if (values !== null) return values;
      throw new UsageError('not-exportable', `the head of this adapter needs ${name} of the base, which is not there`);
    };
    const head = headOf(document);
    if (head !== null)
      requirePooling(task, base.family, 'or merge what adapters export --lora-only writes, which has no head');
    const remark = host.head === null || head === null ? null : headRemark(head, host.head, base.family);
    const headTensors =
      host.head === null || head === null ? new Map() : writeHead(head, host.head, { ...base, baseTensor });
    const changed = new Set<string>();
    const kept = [...weights].flatMap(([name, stored]): OutgoingTensor[] => {
      const isOfHead = isHeadTensor(name);
      if (host.head !== null && isOfHead) return [];
      const ownName = host.head !== null && !isPrefixed ? prefix + name : name;
      if (headTensors.has(ownName)) return [];
      const { shape } = stored;
      if (!isFloat(stored)) return [{ name: ownName, shape, dtype: stored.dtype, pieces: () => rawPieces(stored) }];
      const pieces = function* () {
        const values = merged(name);
        if (values === null) yield* convertedPieces(stored, type, name);
        else {
          changed.add(name);
          yield narrowBytes(values, type, name);
        }
      };
      return [{ name: ownName, shape, dtype: type, pieces }];
    });
    const added = [...headTensors].map(([name, { shape, values }]): OutgoingTensor => {
      return { name, shape, dtype: type, pieces: () => [narrowBytes(values, type, name)] };
    });
    const tensors = [...kept, ...added];
    const byteCount = tensors.reduce((total, tensor) => total + byteCountOf(tensor), 0);
    const sizes = new Map(tensors.map((tensor) => [tensor.name, byteCountOf(tensor)]));
    let done = 0;
    const onTensor = (name: string): void => {
      onProgress?.(done);
      done += sizes.get(name)!;
    };
    await mkdir(out, { recursive: true });
    await refuseFull(out);
    const files = await writeWeights({ folder: out, tensors, shardBytesMax, onTensor }).catch((cause) =>
      cleared(out, cause),
    );
    const configuration = hostConfiguration(base, examined.configuration, { task, type });
    for (const name of companions) {
      if (!content.names.includes(name)) continue;
      await copyFile(join(request.base, name), join(out, name));
      files.push(name);
    }
    content.checkUnchanged();
    // Last: a folder that has one was written to its end.
    await writeFile(join(out, 'config.json'), `${JSON.stringify(configuration, null, 2)}\n`);
    return {
      files: [...files, 'config.json'],
      tensorCount: tensors.length,
      changedCount: changed.size,
      byteCount,
      type,
      remarks: remark === null ? [] : [remark],
    };
  });
}

function isFloat({ dtype }: StoredTensor): boolean {
  return writtenTypes.some((type) => type === dtype);
}

/** The type of most values. */
function commonType(tensors: Iterable<StoredTensor>): WrittenType {
  const counts: Record<WrittenType, number> = { F32: 0, F16: 0, BF16: 0 };
  for (const tensor of tensors) if (isFloat(tensor)) counts[tensor.dtype as WrittenType] += valueCountOf(tensor);
  return writtenTypes.reduce((best, type) => (counts[type] > counts[best] ? type : best));
}

function rawPieces({ source, offset, byteCount }: StoredTensor): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  // Pieces are lent; the tensors that come here are small.
  forEachPiece({ source, offset, length: byteCount }, 1, (piece) => pieces.push(piece.slice()));
  return pieces;
}

function* convertedPieces(stored: StoredTensor, type: WrittenType, name: string): Generator<Uint8Array> {
  const count = valueCountOf(stored);
  const valueSize = count === 0 ? 0 : stored.byteCount / count;
  for (let start = 0; start < count; start += pieceValues) {
    const length = Math.min(pieceValues, count - start);
    const part = {
      ...stored,
      shape: [length],
      offset: stored.offset + start * valueSize,
      byteCount: length * valueSize,
    };
    if (stored.dtype === type) {
      for (const piece of rawPieces(part)) yield piece;
      continue;
    }
    const values = new Float32Array(length);
    fillValues(part, values);
    yield narrowBytes(values, type, name);
  }
}

/** Removes what was written of a checkpoint that will not be whole. */
async function cleared(out: string, cause: unknown): Promise<never> {
  for (const name of await readdir(out)) if (/^model.*\.safetensors$/.test(name)) await rm(join(out, name));
  throw cause;
}

async function refuseFull(out: string): Promise<void> {
  const names = await readdir(out);
  const found = names.find((name) => name.endsWith('.safetensors') || name === 'config.json');
  if (found === undefined) return;
  throw new UsageError('folder-not-empty', `${out} already holds ${found}; name another folder with --out`);
}
