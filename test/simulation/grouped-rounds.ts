/**
 * Masked rounds in groups over a network with faults, from a seed: messages are lost and corrupted in both directions, clients vanish, members lie in
 * bytes that they sign. Whatever happens, the invariants of groups hold at the end.
 */
import { strict as assert } from 'node:assert';
import { type SeededRandom, seededRandom } from '../../shared/core/random.ts';
import { thresholdsOf } from '../../shared/secure-aggregation/threshold.ts';
import { identityOf, plainSum } from '../shared/secure-aggregation/cohort.ts';
import { runGroupedCohort, type SentKind } from '../shared/secure-aggregation/grouped-cohort.ts';
import { mutateBytes } from './mutate.ts';

const dim = 5;
const grouping = { size: 5, clientCountMin: 3 };
const kinds: readonly SentKind[] = ['ADVERT', 'DRAW', 'SHARES', 'MASKED', 'AGREE', 'UNMASK'];
/** What can go wrong in a round. */
const groupedFaults = ['none', 'lost', 'vanished', 'corrupt', 'signed-lie', 'mixed'] as const;

/** How a round ended. */
interface GroupedEnd {
  readonly leftOutCount: number;
  readonly isAborted: boolean;
}

/** Runs the round of a seed. @throws AssertionError on a broken invariant. */
function runGroupedSeed(seed: number): GroupedEnd {
  const random = seededRandom(seed, 'grouped rounds');
  const fault = groupedFaults[seed % groupedFaults.length]!;
  const rate = (kind: (typeof groupedFaults)[number]): number =>
    fault === kind || (fault === 'mixed' && kind !== 'none') ? 0.02 : 0;
  const happens = (kind: (typeof groupedFaults)[number]): boolean => random.integer(1000) < 1000 * rate(kind);
  const clientCount = 10 + random.integer(9);
  const gone = new Map<number, number>();
  const outcome = runGroupedCohort({
    ...{ clientCount, grouping, seed, dim },
    vanishes: (index, kind) => {
      const place = kinds.indexOf(kind);
      if (happens('vanished')) gone.set(index, Math.min(place, gone.get(index) ?? place));
      return (gone.get(index) ?? kinds.length) <= place || happens('lost');
    },
    bend: (event) => (happens('lost') ? null : event),
    bendUp: (event, index) => {
      if (!('body' in event)) return event;
      if (happens('corrupt')) return { ...event, body: changed(event.body, random) };
      if (!happens('signed-lie') || event.type === 'draw') return event;
      const body = changed(event.body, random);
      return { ...event, body, signature: identityOf(index).sign(event.type.toUpperCase(), body) };
    },
  });
  const { opened, groups, leftOut, server } = outcome;
  const inGroups = groups.flat();
  assert.equal(new Set(inGroups).size, inGroups.length, 'nobody is in two groups');
  const openedGroups = opened.map(({ group }) => group);
  assert.ok(!openedGroups.some((group) => leftOut.includes(group)), 'a group is opened or left out, not both');
  for (const { group, survivors, sum } of opened) {
    const members = groups[group]!;
    assert.ok(survivors.length >= thresholdsOf(members.length, 'active').shares, 'opened below its threshold');
    assert.ok(
      survivors.every((index) => members.includes(index)),
      'a stranger counts',
    );
    assert.deepEqual(sum, plainSum(survivors, dim), 'the sum is not that of its contributions');
  }
  const isAborted = server.phase.name === 'aborted';
  if (isAborted) assert.equal(opened.length, 0, 'a void round opens nothing');
  else assert.equal(openedGroups.length + new Set(leftOut).size, groups.length, 'every group has an end');
  if (fault === 'none') assert.equal(opened.length, groups.length);
  return { leftOutCount: new Set(leftOut).size, isAborted };
}

function changed(bytes: Uint8Array, random: SeededRandom): Uint8Array {
  return mutateBytes(bytes, bytes, random);
}

/** Runs as many seeds from the first; how often rounds ended whole, partly opened and void. A failure names its seed. */
export function tryGroupedSeeds(first: number, count: number): ReadonlyMap<string, number> {
  const seen = new Map<string, number>();
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { isAborted, leftOutCount } = runGroupedSeed(seed);
      const opened = leftOutCount > 0 ? 'partly' : 'whole';
      const end = isAborted ? 'void' : opened;
      seen.set(end, (seen.get(end) ?? 0) + 1);
    } catch (cause) {
      throw new Error(`seed ${seed}`, { cause });
    }
  }
  return seen;
}
