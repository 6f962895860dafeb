/** A site's records, in memory or wherever they are read from, once for every plan that comes. */
import type { EncodedExample } from '../shared/data/encode.ts';
import { type ExampleSource, memorySource } from '../shared/data/example-source.ts';
import type { RecordView } from '../shared/data/row-fields.ts';

/** Records that can be gone through any number of times, always in the same order. */
export interface RecordFeed {
  readonly count: number;
  views(): Iterable<RecordView> | AsyncIterable<RecordView>;
}

/** Records that are in memory. */
export function feedOf(records: readonly RecordView[]): RecordFeed {
  return { count: records.length, views: () => records };
}

/** Records, wherever they are, as a feed. */
export function asFeed(records: readonly RecordView[] | RecordFeed): RecordFeed {
  return 'views' in records ? records : feedOf(records);
}

/** Examples that are kept somewhere, and let go of at the end. */
export interface KeptExamples {
  readonly source: ExampleSource;
  close(): Promise<void>;
}

/** Keeps examples as they come. */
export type ExampleKeeper = (examples: AsyncIterable<EncodedExample>, vocabularySize: number) => Promise<KeptExamples>;

/** Keeps examples in memory. */
export const keepInMemory: ExampleKeeper = async (examples) => {
  const kept: EncodedExample[] = [];
  for await (const example of examples) kept.push(example);
  return { source: memorySource(kept), close: async () => {} };
};
