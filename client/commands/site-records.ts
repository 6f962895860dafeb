/**
 * The records of a site for `client`: what they mean is known only when a plan comes. Few are kept in memory; longer files are read again for
 * every plan, and their examples go to a temporary file where they do not fit into memory.
 */
import { UsageError } from '../../shared/core/errors.ts';
import { type ColumnMapping, keyOfRecord, type RecordView } from '../../shared/data/row-fields.ts';
import { streamViews } from '../../shared/data/rows.node.ts';
import { sideOf, splitHeldOut } from '../../shared/data/split.ts';
import { collectExamples } from '../../shared/data/spool.node.ts';
import { type ExampleKeeper, feedOf, type RecordFeed } from '../record-feed.ts';

/** Where the records of a site are. */
export interface SiteFiles {
  readonly train: string;
  readonly heldOut?: string;
  /** Share of the training file to hold out; excludes `heldOut`. */
  readonly heldOutFraction?: number;
  readonly columns: ColumnMapping;
  /** Records of a file that are kept in memory. */
  readonly memoryRows: number;
}

/** Records to train on, and records to evaluate on. */
export interface SiteRecords {
  readonly train: RecordFeed;
  readonly heldOut: RecordFeed;
}

/** Share of rows that is held out when nobody says otherwise. */
export const heldOutShare = 0.1;
/** Decides together with its text on which side a row stands, for ever: a row that was evaluated on is never trained on. */
const heldOutSeed = 1;

/** Goes through the files once. @throws UsageError `bad-option`, `no-rows`; as the readers of records do. */
export async function readSite(files: SiteFiles): Promise<SiteRecords> {
  const records = await readSides(files);
  if (records.train.count > 0) return records;
  const { count } = records.heldOut;
  const held = files.heldOut === undefined && count > 0 ? `: all ${count} are held out, see --held-out-fraction` : '';
  throw new UsageError(
    'no-rows',
    `${files.train} leaves no row to train on${held}; a site takes part with its own rows`,
  );
}

async function readSides(files: SiteFiles): Promise<SiteRecords> {
  const { train, heldOut, heldOutFraction } = files;
  if (heldOut === undefined) return splitFile(train, heldOutFraction ?? heldOutShare, files);
  if (heldOutFraction !== undefined)
    throw new UsageError('bad-option', 'give one of --held-out and --held-out-fraction, found both');
  return { train: await feedOfFile(train, files), heldOut: await feedOfFile(heldOut, files) };
}

/** Keeps examples in memory while they are few, else in a temporary file. */
export const keepOnDisk: ExampleKeeper = async (examples, vocabularySize) => {
  const source = await collectExamples(examples, { vocabularySize });
  return { source, close: source.close };
};

async function feedOfFile(path: string, { memoryRows }: SiteFiles): Promise<RecordFeed> {
  const found = await firstRecords(path, memoryRows, () => {});
  return found.kept === null ? { count: found.count, views: () => streamViews(path) } : feedOf(found.kept);
}

async function splitFile(path: string, fraction: number, { columns, memoryRows }: SiteFiles): Promise<SiteRecords> {
  const settings = { validation: fraction, seed: heldOutSeed };
  const isHeldOut = (view: RecordView): boolean => sideOf({ key: keyOfRecord(view, columns) }, settings) !== 'train';
  let heldOutCount = 0;
  const { count, kept } = await firstRecords(path, memoryRows, (view) => {
    if (isHeldOut(view)) heldOutCount++;
  });
  if (kept !== null) {
    const keyed = kept.map((view) => ({ view, line: view.line, text: keyOfRecord(view, columns) }));
    const split = splitHeldOut(keyed, fraction, heldOutSeed);
    return {
      train: feedOf(split.train.map(({ view }) => view)),
      heldOut: feedOf(split.heldOut.map(({ view }) => view)),
    };
  }
  const side = (wanted: boolean) =>
    async function* views() {
      for await (const view of streamViews(path)) if (isHeldOut(view) === wanted) yield view;
    };
  return {
    train: { count: count - heldOutCount, views: side(false) },
    heldOut: { count: heldOutCount, views: side(true) },
  };
}

/** Counts records and keeps them as long as they are few. */
async function firstRecords(
  path: string,
  memoryRows: number,
  visit: (view: RecordView) => void,
): Promise<{ readonly count: number; readonly kept: RecordView[] | null }> {
  let kept: RecordView[] | null = [];
  let count = 0;
  for await (const view of streamViews(path)) {
    count++;
    visit(view);
    kept?.push(view);
    if (count > memoryRows) kept = null;
  }
  return { count, kept };
}
