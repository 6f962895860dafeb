/**
 * Opens a masked sum: from shares to secrets, from secrets to the masks that are still in the sum of the survivors' vectors (Bonawitz 2017,
 * section 4). Of a survivor that is its self mask; of a client that vanished after it dealt shares, its pairwise masks with every survivor.
 */
import { assert } from '../core/assert.ts';
import { equalBytes } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { agreementPublicKey } from '../crypto/key-agreement.ts';
import { combineShares } from '../crypto/secret-sharing.ts';
import type { MaskToApply } from './client-state.ts';
import { pairMaskSeed, pairSign, selfMaskSeed } from './mask.ts';
import type { Members } from './members.ts';
import { type Shares, selfCommitmentOf } from './messages.ts';
import type { OpenedSecret, Opening } from './server-state.ts';

/** What {@link openSecrets} needs; every dealer has at least `threshold` shares among the answers. */
export interface OpeningSource {
  readonly roundHash: Digest;
  readonly members: Members;
  readonly shares: ReadonlyMap<number, Shares>;
  readonly survivors: readonly number[];
  /** By holder, then by dealer. */
  readonly answers: ReadonlyMap<number, ReadonlyMap<number, Uint8Array>>;
  readonly threshold: number;
}

/** The secrets, each checked against what its dealer committed to; or the first dealer whose shares do not give its secret. */
export function openSecrets({
  roundHash,
  members: { members },
  shares,
  survivors,
  answers,
  threshold,
}: OpeningSource): Omit<Opening, 'members'> | { readonly dealer: number } {
  const opened: { readonly survivors: OpenedSecret[]; readonly vanished: OpenedSecret[] } = {
    survivors: [],
    vanished: [],
  };
  for (const dealer of [...shares.keys()].sort((left, right) => left - right)) {
    const given = [...answers]
      .flatMap(([holder, byDealer]) => {
        const bytes = byDealer.get(dealer);
        return bytes === undefined ? [] : [{ point: holder + 1, bytes }];
      })
      .slice(0, threshold);
    assert(given.length === threshold, 'every dealer has shares enough');
    const secret = combineShares(given);
    const { advert, clientId } = members[dealer]!;
    const survived = survivors.includes(dealer);
    const isTrue = survived
      ? selfCommitmentOf(roundHash, clientId, secret) === advert.selfCommitment
      : equalBytes(agreementPublicKey(secret), advert.maskKey);
    opened[survived ? 'survivors' : 'vanished'].push({ place: dealer, secret });
    if (isTrue) continue;
    // Nothing is opened, so nobody takes the secrets that were right.
    for (const { secret: unused } of [...opened.survivors, ...opened.vanished]) unused.fill(0);
    return { dealer };
  }
  return opened;
}

/** The masks that are still in the sum, with the sign that takes them off, one after the other: their keys never lie in memory together. */
export function* masksToRemove({ members, survivors, vanished }: Opening): Generator<MaskToApply> {
  const { rosterHash } = members;
  for (const { place, secret } of survivors) yield { seed: selfMaskSeed(secret, rosterHash, place), sign: -1 };
  for (const { place: gone, secret } of vanished) {
    for (const { place } of survivors) {
      const seed = pairMaskSeed(secret, members.members[place]!.advert.maskKey, rosterHash, [gone, place]);
      assert(seed !== null, 'a roster has no keys of low order');
      // The survivor applied it with its own sign; the other sign takes it off.
      yield { seed, sign: pairSign(gone, place) };
    }
  }
}
