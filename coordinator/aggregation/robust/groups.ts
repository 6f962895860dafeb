/**
 * What can be said of groups whose sums alone are visible (security specification, section 4.3): which of them no honest members can have made,
 * and, over rounds, whose groups these always are.
 */
import { assert } from '../../../shared/core/assert.ts';

/** By how much rounding may lengthen the mean of clipped updates. */
const normSlack = 1e-3;

/**
 * Indices of the groups to reject: their mean is longer than `clipNorm`, to which every member cut its update, or has values that are no
 * numbers. `means` `[dim]` each.
 */
export function rejectedGroups(means: readonly ArrayLike<number>[], clipNorm: number): number[] {
  assert(clipNorm > 0, 'a norm is above 0');
  return means.flatMap((mean, group) => {
    let squares = 0;
    for (let index = 0; index < mean.length; index++) squares += mean[index]! ** 2;
    // A norm that is no number is not below anything.
    return Math.sqrt(squares) <= clipNorm * (1 + normSlack) ? [] : [group];
  });
}

/** Deviations beyond which no rounding carries a mean. */
const roundingDeviations = 6;

/**
 * Largest norm of the mean of `clientCount` members who cut their updates to `clipNorm`, with their weights together `share` of full ones: what stochastic
 * rounding adds has at most the variance n 4^-f / (4 share²) in a coordinate.
 */
export function groupNormMax(
  { clipNorm, fracBits }: { readonly clipNorm: number; readonly fracBits: number },
  { dim, clientCount, share }: { readonly dim: number; readonly clientCount: number; readonly share: number },
): number {
  const deviation = (2 ** -fracBits * Math.sqrt(clientCount)) / (2 * share);
  const squares = deviation ** 2 * (dim + roundingDeviations * Math.sqrt(dim));
  return Math.sqrt(clipNorm ** 2 + 2 * clipNorm * roundingDeviations * deviation + squares);
}

/** One round: its groups, and which of them were rejected. */
export interface GroupedRound<Client> {
  readonly groups: readonly (readonly Client[])[];
  readonly rejected: readonly number[];
}

/** Chance below which a client's bad luck with groups is not taken for luck. */
const chanceMin = 1e-4;

/**
 * Clients to quarantine: their groups were rejected more often than chance explains. For a client that is honest, groups drawn anew in every round
 * are rejected as often as anybody's; the chance of so many rejections is that of a binomial tail at the rate of the groups without it, divided
 * by the number of clients who are looked at. Clients that share the blame of one found before are judged without those rounds.
 */
export function suspects<Client>(rounds: readonly GroupedRound<Client>[]): Client[] {
  const found: Client[] = [];
  for (;;) {
    const groups = rounds.flatMap(({ groups, rejected }) =>
      groups
        .map((members, index) => ({ members, isRejected: rejected.includes(index) }))
        .filter(({ members }) => !members.some((member) => found.includes(member))),
    );
    const clients = [...new Set(groups.flatMap(({ members }) => members))];
    const judged = clients.map((client) => {
      const own = groups.filter(({ members }) => members.includes(client));
      const others = groups.filter(({ members }) => !members.includes(client));
      const hits = own.filter(({ isRejected }) => isRejected).length;
      // One rejection more than was seen: a rate of zero would make any single rejection proof.
      const rate = (others.filter(({ isRejected }) => isRejected).length + 1) / (others.length + 2);
      return { client, chance: binomialTail(own.length, rate, hits) * clients.length };
    });
    const [worst] = judged.sort((left, right) => left.chance - right.chance);
    if (worst === undefined || worst.chance >= chanceMin) return found;
    found.push(worst.client);
  }
}

/** P[Bin(count, rate) >= least]. */
function binomialTail(count: number, rate: number, least: number): number {
  let [logTerm, sum] = [count * Math.log1p(-rate), 0];
  for (let hits = 0; hits <= count; hits++) {
    if (hits >= least) sum += Math.exp(logTerm);
    logTerm += Math.log((count - hits) / (hits + 1)) + Math.log(rate) - Math.log1p(-rate);
  }
  return Math.min(1, sum);
}
