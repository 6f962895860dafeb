/**
 * Deals the rows of one file to simulated clients: evenly (`iid`), by their natural owner (`natural`), or with skewed labels
 * (`dirichlet:alpha`, Hsu, Qi and Brown 2019, section 3.1, with proportions drawn per label, so that every row is used once). Pure: the
 * same rows and seed give the same partition with any version; golden digests in the tests keep it so.
 */
import { UsageError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';

/** How rows are dealt out. `alpha` > 0: small values give every client few labels, large ones the same mixture. */
export type Partition =
  | { readonly kind: 'iid' }
  | { readonly kind: 'natural'; readonly column: string }
  | { readonly kind: 'dirichlet'; readonly alpha: number };

/** What decides where a row goes: its place, owner and label. Nothing of its text, so that rows larger than memory can be dealt out. */
export interface PartitionRow {
  readonly line: number;
  readonly group?: string;
  /** Needed for `dirichlet`: what skews are made of. */
  readonly label?: string;
}

/** What {@link partitionRows} needs. */
export interface PartitionOptions {
  readonly partition: Partition;
  readonly clientCount: number;
  readonly seed: number;
}

/** Reads `iid`, `natural`, `natural:COLUMN` (default column `client`) or `dirichlet:ALPHA`. @throws UsageError on anything else. */
export function parsePartition(text: string): Partition {
  const [kind, ...rest] = text.split(':');
  const detail = rest.join(':');
  if (text === 'iid') return { kind: 'iid' };
  if (text === 'natural' || (kind === 'natural' && detail !== ''))
    return { kind: 'natural', column: detail || 'client' };
  const alpha = Number(detail);
  if (kind === 'dirichlet' && detail !== '' && alpha > 0 && Number.isFinite(alpha)) return { kind: 'dirichlet', alpha };
  throw new UsageError(
    'bad-partition',
    `a partition is iid, natural, natural:COLUMN or dirichlet:ALPHA with ALPHA above 0; found ${JSON.stringify(text)}`,
  );
}

/**
 * The row indices of every client, ascending; every row belongs to exactly one client and every client has at least one row.
 * @throws UsageError with fewer rows than clients; for `natural`, without owners or with fewer owners than clients; for `dirichlet`, without labels.
 */
export function partitionRows(
  rows: readonly PartitionRow[],
  { partition, clientCount, seed }: PartitionOptions,
): number[][] {
  if (!Number.isInteger(clientCount) || clientCount < 1 || clientCount > rows.length) {
    throw new UsageError(
      'too-few-rows',
      `cannot deal ${rows.length} rows to ${clientCount} clients: each needs at least one`,
    );
  }
  const random = seededRandom(seed, 'partition', partition.kind);
  const clients = deal(rows, partition, clientCount, random);
  fillEmptyClients(clients);
  return clients.map((indices) => indices.sort((left, right) => left - right));
}

function deal(
  rows: readonly PartitionRow[],
  partition: Partition,
  clientCount: number,
  random: SeededRandom,
): number[][] {
  switch (partition.kind) {
    case 'iid':
      return dealEvenly(rows, clientCount, random);
    case 'natural':
      return dealByOwner(rows, partition.column, clientCount);
    case 'dirichlet':
      return dealByLabel(rows, partition.alpha, clientCount, random);
    default:
      return partition satisfies never;
  }
}

function dealEvenly(rows: readonly PartitionRow[], clientCount: number, random: SeededRandom): number[][] {
  const clients: number[][] = Array.from({ length: clientCount }, () => []);
  const order = random.shuffle(rows.map((_, index) => index));
  for (const [place, index] of order.entries()) clients[place % clientCount]!.push(index);
  return clients;
}

/** The largest owners first, each to the client that has the fewest rows so far; ties go to the earlier name and the earlier client. */
function dealByOwner(rows: readonly PartitionRow[], column: string, clientCount: number): number[][] {
  const owners = groupIndices(rows, (row) => {
    if (row.group === undefined)
      throw new UsageError('no-owner', `the row in line ${row.line} has no value in "${column}"`);
    return row.group;
  });
  if (owners.length < clientCount) {
    throw new UsageError(
      'too-few-owners',
      `the column "${column}" names ${owners.length} owners, too few for ${clientCount} clients: ask for at most ${owners.length}`,
    );
  }
  owners.sort((left, right) => right.indices.length - left.indices.length || (left.name < right.name ? -1 : 1));
  const clients: number[][] = Array.from({ length: clientCount }, () => []);
  for (const { indices } of owners) {
    const smallest = clients.reduce((best, client) => (client.length < best.length ? client : best));
    smallest.push(...indices);
  }
  return clients;
}

function dealByLabel(
  rows: readonly PartitionRow[],
  alpha: number,
  clientCount: number,
  random: SeededRandom,
): number[][] {
  const clients: number[][] = Array.from({ length: clientCount }, () => []);
  for (const { name, indices } of groupIndices(rows, labelOf)) {
    const stream = random.fork(name);
    stream.shuffle(indices);
    const shares = Array.from({ length: clientCount }, () => stream.gamma(alpha));
    const total = shares.reduce((sum, share) => sum + share, 0);
    // A tiny alpha can underflow every draw to zero; then one client takes the whole label.
    if (total === 0) shares[stream.integer(clientCount)] = 1;
    let sum = 0;
    let start = 0;
    for (const [client, share] of shares.entries()) {
      sum += share;
      const end = client === clientCount - 1 ? indices.length : Math.round((sum / (total || 1)) * indices.length);
      clients[client]!.push(...indices.slice(start, end));
      start = end;
    }
  }
  return clients;
}

function labelOf({ label, line }: PartitionRow): string {
  if (label !== undefined) return label;
  throw new UsageError(
    'no-label',
    `the row in line ${line} has no label of its own, by which a dirichlet partition deals`,
  );
}

/** Groups in the order of the code units of their names. */
function groupIndices(
  rows: readonly PartitionRow[],
  nameOf: (row: PartitionRow) => string,
): { name: string; indices: number[] }[] {
  const groups = new Map<string, number[]>();
  for (const [index, row] of rows.entries()) {
    const name = nameOf(row);
    const indices = groups.get(name);
    if (indices === undefined) groups.set(name, [index]);
    else indices.push(index);
  }
  return [...groups].sort(([left], [right]) => (left < right ? -1 : 1)).map(([name, indices]) => ({ name, indices }));
}

function fillEmptyClients(clients: number[][]): void {
  for (const client of clients) {
    if (client.length > 0) continue;
    const largest = clients.reduce((best, other) => (other.length > best.length ? other : best));
    client.push(largest.pop()!);
  }
}
