/** The compressions of Parquet's pages, none of which gives more bytes than a page says that it has. */
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { Compressors } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/** What takes the bytes of a page, and the most that it may give. */
type Decompress = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array;

const bounded =
  (decompress: Decompress) =>
  (bytes: Uint8Array, length: number): Uint8Array =>
    length === 0 ? new Uint8Array(0) : decompress(bytes, { maxOutputLength: length });

/** By the name that a file has for them. */
export const parquetCompressors: Compressors = {
  ...compressors,
  BROTLI: bounded(brotliDecompressSync),
  GZIP: bounded(gunzipSync),
  ZSTD: bounded(zstdDecompressSync),
};
