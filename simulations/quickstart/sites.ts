/**
 * Who holds what: the training rows dealt to sites, the rows that each site holds out, and each site's own test rows.
 *
 * A site's own distribution is a part of the test set. With a natural partition it is the test rows of the site's owners. Otherwise the test rows of
 * every label are shared out in proportion to the sites' training rows with that label, so that a site's own test rows have the
 * label shares of its training rows, and every test row belongs to one site. A row with several labels counts as one of its first; rows without
 * labels all count alike.
 */
import { UsageError } from '../../shared/core/errors.ts';
import { type SeededRandom, seededRandom } from '../../shared/core/random.ts';
import { type Partition, partitionRows } from '../../shared/data/partition.ts';
import { distinctLabels, labelsInRow, type RowPlace, type TaskRow } from '../../shared/data/row.ts';
import { splitHeldOut } from '../../shared/data/split.ts';

/** One data holder. */
export interface Site {
  /** Name in tables and folders: the owner's where every site has one owner with a plain name, otherwise `site-1`. */
  readonly name: string;
  /** Rows that it trains on. */
  readonly train: readonly TaskRow[];
  /** Rows that it never trains on and evaluates every round's adapter with; empty when it has a single text. */
  readonly heldOut: readonly TaskRow[];
  /** Indices of its own test rows. */
  readonly ownTest: readonly number[];
}

/** What {@link divide} needs. */
export interface DivideOptions {
  readonly train: readonly TaskRow[];
  readonly test: readonly TaskRow[];
  /** Whether rows have labels or tags, the default; texts of language models have none. */
  readonly hasLabels?: boolean;
  readonly partition: Partition;
  readonly clientCount: number;
  readonly seed: number;
}

/** Training rows of a site that it holds out. */
const heldOutFraction = 0.15;

/** Labels of a task and its sites. */
export interface Division {
  /** The labels of the training rows, in the order of their code units; none where rows have none. */
  readonly labels: readonly string[];
  readonly sites: readonly Site[];
}

/** Deals rows to sites. @throws UsageError when the rows do not suffice, or a test row has a label that no training row has. */
export function divide({ train, test, hasLabels = true, partition, clientCount, seed }: DivideOptions): Division {
  const labels = distinctLabels(train.flatMap(labelsInRow));
  if (hasLabels) checkLabels(labels, test);
  const dealt = partitionRows(
    train.map((row) => ({ ...placeOf(row), ...('label' in row || 'labels' in row ? { label: labelOf(row) } : {}) })),
    { partition, clientCount, seed },
  );
  const owned = dealt.map((indices) => indices.map((index) => train[index]!));
  const ownTest =
    partition.kind === 'natural' ? testByOwner(owned, test) : testByLabel(owned, test, seededRandom(seed, 'own-test'));
  const names = namesOf(owned, partition);
  return {
    labels,
    sites: owned.map((rows, index) => {
      const { train: trained, heldOut } = splitHeldOut(rows, heldOutFraction, seed);
      return { name: names[index]!, train: trained, heldOut, ownTest: ownTest[index]! };
    }),
  };
}

function checkLabels(labels: readonly string[], test: readonly TaskRow[]): void {
  if (labels.length < 2)
    throw new UsageError('one-label', 'the training rows have a single label; a classification needs at least two');
  const known = new Set(labels);
  for (const row of test) {
    const stranger = labelsInRow(row).find((label) => !known.has(label));
    if (stranger === undefined) continue;
    throw new UsageError(
      'unknown-label',
      `the test row in line ${row.line} has the label ${JSON.stringify(stranger)}, which no training row has; remove such rows from the test file`,
    );
  }
}

function placeOf({ line, group }: TaskRow): RowPlace {
  return group === undefined ? { line } : { line, group };
}

/** The label that a row counts as when rows are dealt; tags of words are no label of the row. */
function labelOf(row: TaskRow): string {
  return ('tags' in row ? undefined : labelsInRow(row)[0]) ?? '';
}

function testByOwner(owned: readonly (readonly TaskRow[])[], test: readonly TaskRow[]): number[][] {
  const siteOf = new Map<string, number>();
  for (const [site, rows] of owned.entries()) for (const { group } of rows) siteOf.set(group!, site);
  const indices: number[][] = owned.map(() => []);
  for (const [index, { group }] of test.entries()) {
    const site = siteOf.get(group!);
    if (site !== undefined) indices[site]!.push(index);
  }
  return indices;
}

function testByLabel(
  owned: readonly (readonly TaskRow[])[],
  test: readonly TaskRow[],
  random: SeededRandom,
): number[][] {
  const indices: number[][] = owned.map(() => []);
  for (const label of distinctLabels(test.map(labelOf))) {
    const order = random.fork(label).shuffle(test.flatMap((row, index) => (labelOf(row) === label ? [index] : [])));
    const counts = owned.map((rows) => rows.filter((row) => labelOf(row) === label).length);
    const total = counts.reduce((sum, count) => sum + count, 0);
    let sum = 0;
    let start = 0;
    for (const [site, count] of counts.entries()) {
      sum += count;
      const end = Math.round((sum / total) * order.length);
      indices[site]!.push(...order.slice(start, end));
      start = end;
    }
  }
  return indices.map((list) => list.sort((left, right) => left - right));
}

/** Owners' names where they are plain enough for paths and all different; otherwise numbers. */
function namesOf(owned: readonly (readonly TaskRow[])[], partition: Partition): string[] {
  const numbered = owned.map((_, index) => `site-${index + 1}`);
  if (partition.kind !== 'natural') return numbered;
  const names = owned.map((rows) => {
    const owners = new Set(rows.map(({ group }) => group!));
    return owners.size === 1 ? [...owners][0]! : '';
  });
  const arePlain = names.every((name) => /^[A-Za-z0-9][\w-]{0,39}$/.test(name));
  const areDifferent = new Set(names.map((name) => name.toLowerCase())).size === names.length;
  return arePlain && areDifferent ? names : numbered;
}
