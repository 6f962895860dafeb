/** Makes a file of rows and reads it in a process whose heap is limited; shared by the quick and the slow test of streaming. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createGzip } from 'node:zlib';

/** A file of rows, and what must come out of it. */
export interface RowFile {
  readonly path: string;
  readonly rowCount: number;
  /** Sum of the ids that are kept, and of the labels. */
  readonly sum: number;
  readonly truncatedCount: number;
}

/** Writes JSON Lines of about `bytes` in all, compressed; every seventh text is longer than what is kept of it. */
export async function writeRows(folder: string, bytes: number): Promise<RowFile> {
  const path = join(folder, 'rows.jsonl.gz');
  const gzip = createGzip({ level: 1 });
  const file = gzip.pipe(createWriteStream(path));
  let [written, rowCount, sum, truncatedCount] = [0, 0, 0, 0];
  while (written < bytes) {
    const lines: string[] = [];
    for (let index = 0; index < 200; index++, rowCount++) {
      const length = rowCount % 7 === 0 ? 100 : 20 + (rowCount % 40);
      const words = Array.from({ length }, (_, at) => (rowCount * 31 + at * 7919) % 29_999);
      const label = rowCount % 5;
      lines.push(JSON.stringify({ text: words.join(' '), label, note: 'not read' }));
      if (length > 64) truncatedCount++;
      sum += words.slice(0, 64).reduce((total, word) => total + word + 1, label);
    }
    const block = `${lines.join('\n')}\n`;
    written += block.length;
    if (!gzip.write(block)) await once(gzip, 'drain');
  }
  gzip.end();
  await once(file, 'close');
  return { path, rowCount, sum, truncatedCount };
}

/** What the process printed, or how it ended when it did not get that far. */
export type StreamOutcome =
  | {
      readonly count: number;
      readonly sums: readonly number[];
      readonly firstIds: readonly number[];
      readonly truncatedCount: number;
      readonly fileBytes: number;
      readonly grownBytes: number;
    }
  | { readonly failure: string };

/** Runs `stream-process.ts` over a file with at most `heapMiB` of heap. */
export async function streamInProcess(path: string, keep: 'spool' | 'memory', heapMiB: number): Promise<StreamOutcome> {
  const script = join(import.meta.dirname, 'stream-process.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [`--max-old-space-size=${heapMiB}`, script, path, keep], (error, output, errors) => {
      resolve(error === null ? (JSON.parse(output) as StreamOutcome) : { failure: `${error.message}${errors}` });
    });
  });
}
