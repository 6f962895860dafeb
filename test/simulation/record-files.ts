/** Small files of records in every format, encoding and compression that is read, for changes to begin with. */
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { utf8 } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { mutateBytes } from './mutate.ts';

/** A file of records that is read as it is. */
export interface RecordFile {
  readonly name: string;
  readonly ending: string;
  readonly bytes: Uint8Array;
}

type Codec = 'UNCOMPRESSED' | 'GZIP' | 'BROTLI' | 'ZSTD';

const rare = ['aaa', 'aab', null, 'b', 'b', 'b', 'b', 'b', 'c'];
const whole = [0, 1, 0, 1, 1, 1, 1, 1, 70_000];

/** Every encoding of values. */
function encoded(codec: Codec, rowGroupSize: number): Uint8Array {
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'text', data: rare, type: 'STRING' },
        { name: 'begins', data: rare, type: 'STRING', encoding: 'DELTA_BYTE_ARRAY' },
        { name: 'lengths', data: rare, type: 'STRING', encoding: 'DELTA_LENGTH_BYTE_ARRAY' },
        { name: 'steps', data: whole, type: 'INT32', encoding: 'DELTA_BINARY_PACKED' },
        { name: 'long', data: whole.map(BigInt), type: 'INT64', encoding: 'DELTA_BINARY_PACKED' },
        { name: 'runs', data: whole.map((value) => value > 0), type: 'BOOLEAN', encoding: 'RLE' },
        { name: 'split', data: whole, type: 'FLOAT', encoding: 'BYTE_STREAM_SPLIT' },
      ],
      rowGroupSize,
      codec,
      compressors: { GZIP: gzipSync, BROTLI: brotliCompressSync, ZSTD: zstdCompressSync },
    }),
  );
}

/** Lists, whose levels say where rows begin. */
function nested(): Uint8Array {
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [{ name: 'tags', data: [['a', 'b'], [], null, ['c', null]] }],
      schema: [
        { name: 'schema', num_children: 1 },
        { name: 'tags', repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL', converted_type: 'UTF8' },
      ],
    }),
  );
}

/** Every kind of file. */
export function recordFiles(): RecordFile[] {
  const plain = new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'text', data: ['one', 'two', 'three'], type: 'STRING' },
        { name: 'label', data: [0, 1, 0], type: 'INT32' },
      ],
    }),
  );
  const lines = utf8('{"text": "one", "label": 0}\n{"text": "two", "label": 1}\n');
  const texts = [
    ['jsonl', lines],
    ['json', utf8('[{"text": "one", "label": 0}, {"text": "two", "label": 1}]')],
    ['csv', utf8('text,label\n"one, with ""quotes""",0\ntwo,1\n')],
    ['tsv', utf8('text\tlabel\none\t0\ntwo\t1\n')],
    ['jsonl.gz', gzipSync(lines)],
    ['parquet', plain],
  ] as const;
  const columns = [
    ['encoded', encoded('UNCOMPRESSED', 9)],
    ['groups', encoded('UNCOMPRESSED', 3)],
    ['gzip', encoded('GZIP', 9)],
    ['brotli', encoded('BROTLI', 9)],
    ['zstd', encoded('ZSTD', 9)],
    ['nested', nested()],
  ] as const;
  return [
    ...texts.map(([ending, bytes]) => ({ name: ending, ending, bytes })),
    ...columns.map(([name, bytes]) => ({ name: `parquet ${name}`, ending: 'parquet', bytes })),
  ];
}

/** The file of a run: the same for the same seed. */
export function mutatedFile({ name, bytes }: RecordFile, seed: number, run: number): Uint8Array {
  return mutateBytes(bytes, bytes, seededRandom(seed, name, run));
}
