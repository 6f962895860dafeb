/**
 * Judges what a Parquet file claims about itself, page by page, before the decoder believes it: counts, sizes and lengths that do not fit would
 * make it fill the memory, or never end. What is allowed is a multiple of the bytes that the file has.
 */
import type { AsyncBuffer, ColumnChunk, Compressors, FileMetaData, SchemaElement } from 'hyparquet';
import { parquetGroupBytesMax } from '../core/limits.ts';
import { countRuns, readDeltas } from './parquet-runs.ts';
import { readThrift, type ThriftStruct, type ThriftValue } from './parquet-thrift.ts';

/** Values that a file may have: some repeat many times in a byte, but a file is there for those that do not. */
function valuesMax(fileBytes: number): number {
  return 2 ** 22 + 64 * fileBytes;
}

const footerBytes = 8;
/** Bytes in which the header of a page is looked for first. */
const headerBytes = 2 ** 12;
/** Levels of a schema within each other. */
const depthMax = 64;

const pageTypes = { data: 0, dictionary: 2, dataV2: 3 } as const;
const encodings = {
  plain: 0,
  plainDictionary: 2,
  runs: 3,
  deltas: 5,
  deltaLengths: 6,
  deltaTexts: 7,
  dictionary: 8,
  split: 9,
} as const;

/** A column whose values are stored, with what its levels mean. */
interface Leaf {
  readonly element: SchemaElement;
  /** Its rows are its values, so that pages after the last row are not read. */
  readonly isFlat: boolean;
  readonly definitionMax: number;
  readonly repetitionMax: number;
}

/** Judges a file's metadata before it is parsed. @throws Error */
export async function checkFooter(file: AsyncBuffer): Promise<void> {
  const size = file.byteLength;
  if (size < footerBytes) throw new Error(`expected at least ${footerBytes} bytes, found ${size}`);
  const length = new DataView(await file.slice(size - footerBytes, size - 4)).getUint32(0, true);
  if (length > size - footerBytes) throw new Error(`the footer has ${length} bytes, the file ${size}`);
  readThrift(new Uint8Array(await file.slice(size - footerBytes - length, size - footerBytes)), 0);
}

/** A whole number of a header. @throws Error where it is none between `least` and `most`. */
function whole(value: ThriftValue | undefined, what: string, most: number, least = 0): number {
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw new Error(
      `expected ${what} to be a number from ${least} to ${most}, found ${typeof value === 'number' ? value : 'none'}`,
    );
  }
  return value;
}

/** Columns that hold values, by their path. */
function leavesOf(schema: readonly SchemaElement[]): ReadonlyMap<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  let index = 0;
  const visit = (path: readonly string[], definitionMax: number, repetitionMax: number): void => {
    const element = schema[index++];
    if (element === undefined) throw new Error(`the schema has fewer than the ${index} elements that it counts`);
    if (path.length > depthMax) throw new Error(`the schema has more than ${depthMax} levels`);
    const isRoot = index === 1;
    const own = isRoot ? path : [...path, element.name];
    // As the decoder counts them.
    const definition = isRoot || element.repetition_type === 'REQUIRED' ? definitionMax : definitionMax + 1;
    const repetition = element.repetition_type === 'REPEATED' ? repetitionMax + 1 : repetitionMax;
    const childCount = element.num_children ?? 0;
    if (childCount === 0) {
      const isFlat = own.length === 1 && element.repetition_type !== 'REPEATED';
      leaves.set(JSON.stringify(own), { element, isFlat, definitionMax: definition, repetitionMax: repetition });
    }
    for (let child = 0; child < childCount; child++) visit(own, definition, repetition);
  };
  visit([], 0, 0);
  return leaves;
}

/** Judges the row groups of a file one after the other. */
export interface ParquetCheck {
  /** Judges the pages of a row group in the columns that are read. @throws Error */
  group(index: number): Promise<void>;
}

/** Judges what the metadata claims as a whole. `wanted` names the columns that are read. @throws Error */
export function createParquetCheck(
  file: AsyncBuffer,
  { schema, row_groups: groups }: FileMetaData,
  { wanted, compressors }: { readonly wanted: readonly string[]; readonly compressors: Compressors },
): ParquetCheck {
  const leaves = leavesOf(schema);
  const budget = valuesMax(file.byteLength);
  let [rows, stored, values] = [0, 0, 0];
  const chunksOf = (columns: readonly ColumnChunk[]): readonly ColumnChunk[] =>
    columns.filter(({ meta_data }) => meta_data !== undefined && wanted.includes(meta_data.path_in_schema[0] ?? ''));
  for (const { num_rows, columns } of groups) {
    rows += whole(Number(num_rows), 'the rows of a row group', budget - rows);
    for (const { meta_data } of chunksOf(columns)) {
      const bytes = Number(meta_data!.total_compressed_size);
      stored += whole(bytes, 'the bytes of a column', file.byteLength - stored);
    }
  }
  return {
    group: async (index) => {
      const { columns, num_rows } = groups[index]!;
      let bytes = 0;
      for (const chunk of chunksOf(columns)) {
        const path = JSON.stringify(chunk.meta_data!.path_in_schema);
        const leaf = leaves.get(path);
        if (leaf === undefined) throw new Error(`the schema has no column ${path}`);
        const found = await checkChunk(file, {
          chunk,
          leaf,
          compressors,
          rowCount: Number(num_rows),
          valuesMost: budget - values,
        });
        values += found.values;
        bytes += found.bytes;
        if (chunk.offset_index_offset === undefined && bytes > parquetGroupBytesMax) {
          throw new Error(`a row group has ${bytes} bytes in its pages, and says it has fewer`);
        }
      }
    },
  };
}

interface ChunkClaims {
  readonly chunk: ColumnChunk;
  readonly leaf: Leaf;
  readonly compressors: Compressors;
  readonly rowCount: number;
  readonly valuesMost: number;
}

/** Judges the pages of one column of a row group. */
async function checkChunk(file: AsyncBuffer, { chunk, leaf, compressors, rowCount, valuesMost }: ChunkClaims) {
  const { meta_data, offset_index_offset, offset_index_length } = chunk;
  const { dictionary_page_offset, data_page_offset, total_compressed_size, codec, type } = meta_data!;
  const decompress = codec === 'UNCOMPRESSED' ? (bytes: Uint8Array) => bytes : compressors[codec];
  if (decompress === undefined) throw new Error(`the compression ${codec} is not known`);
  const start = whole(Number(dictionary_page_offset || data_page_offset), "a column's place", file.byteLength);
  const end = whole(start + Number(total_compressed_size), "a column's end", file.byteLength);
  const places = new Set<number>();
  let [at, rows, values, bytes] = [start, 0, 0, 0];
  while (at < end - 1 && (!leaf.isFlat || rows < rowCount)) {
    const header = await readHeader(file, at, end);
    const stored = whole(header.fields.get(3), 'the stored bytes of a page', end - header.end);
    const size = whole(header.fields.get(2), 'the bytes of a page', parquetGroupBytesMax);
    bytes += size;
    const content = new Uint8Array(await file.slice(header.end, header.end + stored));
    const page: Page = { content, size, decompress, type, leaf, valuesMost: valuesMost - values };
    const kind = header.fields.get(1);
    if (kind === pageTypes.dictionary) checkDictionary(page, fieldsOf(header.fields, 7));
    else {
      const isSecond = kind === pageTypes.dataV2;
      if (!isSecond && kind !== pageTypes.data)
        throw new Error(`a page is of the unknown kind ${typeof kind === 'number' ? kind : 'none'}`);
      const found = isSecond
        ? checkSecondPage(page, fieldsOf(header.fields, 8))
        : checkPage(page, fieldsOf(header.fields, 5));
      places.add(at);
      rows += found.rows;
      values += found.values;
    }
    at = header.end + stored;
  }
  if (rows !== rowCount) throw new Error(`expected ${rowCount} rows in a column, found ${rows}`);
  if (offset_index_offset !== undefined) {
    const from = whole(Number(offset_index_offset), "an index's place", file.byteLength);
    await checkIndex(file, { from, length: Number(offset_index_length), places, end, rowCount });
  }
  return { values, bytes };
}

/** The header of the page at `at`: its window grows until it holds the whole of it. */
async function readHeader(file: AsyncBuffer, at: number, end: number) {
  for (let size = headerBytes; ; size *= 8) {
    const bytes = new Uint8Array(await file.slice(at, Math.min(end, at + size)));
    try {
      const { fields, end: length } = readThrift(bytes, 0);
      return { fields, end: at + length };
    } catch (error) {
      if (at + size >= end) throw error;
    }
  }
}

/** Judges an index of pages: the places that it names are those where pages are. */
async function checkIndex(
  file: AsyncBuffer,
  claims: { from: number; length: number; places: ReadonlySet<number>; end: number; rowCount: number },
): Promise<void> {
  const { from, length, places, end, rowCount } = claims;
  const bytes = new Uint8Array(
    await file.slice(from, from + whole(length, 'the bytes of an index', file.byteLength - from)),
  );
  const { fields } = readThrift(bytes, 0);
  const pages = fields.get(1);
  if (!Array.isArray(pages) || pages.length < 1) throw new Error('an index names no pages');
  let [before, firstBefore] = [-1, 0];
  for (const page of pages as readonly ThriftStruct[]) {
    const place = whole(page.get(1), 'the place of a page', end, before + 1);
    if (!places.has(place)) throw new Error(`an index names a page at ${place}, where none is`);
    whole(page.get(2), 'the stored bytes of a page', end - place);
    firstBefore = whole(page.get(3), 'the first row of a page', rowCount, firstBefore);
    before = place;
  }
}

function fieldsOf(header: ThriftStruct, id: number): ThriftStruct {
  const fields = header.get(id);
  if (!(fields instanceof Map)) throw new Error('a page does not say what is in it');
  return fields as ThriftStruct;
}

/** A page as it is stored. */
interface Page {
  readonly content: Uint8Array;
  /** Bytes of it when it is no longer compressed. */
  readonly size: number;
  readonly decompress: (bytes: Uint8Array, size: number) => Uint8Array;
  readonly type: string | undefined;
  readonly leaf: Leaf;
  readonly valuesMost: number;
}

function decompressed({ decompress }: Page, content: Uint8Array, size: number): Uint8Array {
  const bytes = decompress(content, size);
  if (bytes.length !== size) throw new Error(`expected a page of ${size} bytes, found ${bytes.length}`);
  return bytes;
}

function checkDictionary(page: Page, header: ThriftStruct): void {
  // Every entry takes a byte.
  whole(header.get(1), 'the entries of a dictionary', page.size);
  decompressed(page, page.content, page.size);
}

const isIndexed = (encoding: ThriftValue | undefined): boolean =>
  encoding === encodings.plainDictionary || encoding === encodings.dictionary || encoding === encodings.runs;

const widthOf = (levelMax: number): number => 32 - Math.clz32(levelMax);

/** Judges levels; of none every value counts. */
function countLevels(bytes: Uint8Array, offset: number, levelMax: number, count: number, target: number): number {
  return levelMax === 0 ? count : countRuns(bytes, { offset, width: widthOf(levelMax), count, target });
}

function checkPage(page: Page, header: ThriftStruct): { readonly rows: number; readonly values: number } {
  const { definitionMax, repetitionMax } = page.leaf;
  const count = whole(header.get(1), 'the values of a page', page.valuesMost);
  const bytes = decompressed(page, page.content, page.size);
  let at = 0;
  const levels = (levelMax: number, target: number): number => {
    if (levelMax === 0) return count;
    if (at + 4 > bytes.length) throw new Error('a page ends before its levels');
    const length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
    const found = countLevels(bytes, at + 4, levelMax, count, target);
    at += 4 + whole(length, 'the bytes of levels', bytes.length - at - 4);
    return found;
  };
  const rows = levels(repetitionMax, 0);
  const present = levels(definitionMax, definitionMax);
  const rest = bytes.subarray(at);
  const encoding = header.get(2);
  // In first pages truth values have no width, and values without bits nothing else.
  if (page.type === 'BOOLEAN' && isIndexed(encoding)) checkValues(page, rest, encodings.runs, present);
  else if (!isIndexed(encoding) || rest[0] !== 0)
    checkValues(page, rest, encoding === encodings.runs ? encodings.dictionary : encoding, present);
  return { rows, values: count };
}

function checkSecondPage(page: Page, header: ThriftStruct): { readonly rows: number; readonly values: number } {
  const { definitionMax, repetitionMax } = page.leaf;
  const { content, size, valuesMost } = page;
  const count = whole(header.get(1), 'the values of a page', valuesMost);
  // Writers differ in what they count as missing within lists; the decoder believes this number.
  const present = count - whole(header.get(2), 'the missing values of a page', count);
  const stated = whole(header.get(3), 'the rows of a page', count);
  const definitionBytes = whole(header.get(5), 'the bytes of levels', Math.min(content.length, size));
  const repetitionBytes = whole(header.get(6), 'the bytes of levels', Math.min(content.length, size) - definitionBytes);
  const rows = countLevels(content, 0, repetitionMax, count, 0);
  if (rows !== stated) throw new Error(`a page says that it has ${stated} rows and has ${rows}`);
  countLevels(content, repetitionBytes, definitionMax, count, definitionMax);
  const levelBytes = definitionBytes + repetitionBytes;
  const stored = content.subarray(levelBytes);
  const bytes = header.get(7) === false ? stored : decompressed(page, stored, size - levelBytes);
  checkValues(page, bytes, header.get(4), present);
  return { rows, values: count };
}

/** Judges the values of a page; those that are written out one by one are paid for with bytes. */
function checkValues({ type, leaf }: Page, bytes: Uint8Array, encoding: ThriftValue | undefined, count: number): void {
  switch (encoding) {
    case encodings.plainDictionary:
    case encodings.dictionary:
      if (count > 0) countRuns(bytes, { offset: 1, width: bytes[0] ?? 0, count, target: -1 });
      break;
    case encodings.runs:
      if (count > 0) countRuns(bytes, { offset: 4, width: 1, count, target: -1 });
      break;
    case encodings.deltas:
    case encodings.deltaLengths:
      readDeltas(bytes, 0, count);
      break;
    case encodings.deltaTexts:
      checkDeltaTexts(bytes, count);
      break;
    case encodings.split:
      if (type === 'FIXED_LEN_BYTE_ARRAY') whole(leaf.element.type_length, 'the bytes of a value', bytes.length, 1);
      break;
    default:
  }
}

/** Texts that begin like the one before: no longer together than a row group may be. */
function checkDeltaTexts(bytes: Uint8Array, count: number): void {
  const shared = readDeltas(bytes, 0, count);
  const own = readDeltas(bytes, shared.end, count);
  let [before, total] = [0, 0];
  for (const [index, length] of shared.values.entries()) {
    before =
      whole(length, 'the bytes that a text shares', before) +
      whole(own.values[index], 'the bytes of a text', bytes.length);
    total += before;
    if (total > parquetGroupBytesMax)
      throw new Error(`the texts of a page have more than ${parquetGroupBytesMax} bytes`);
  }
}
