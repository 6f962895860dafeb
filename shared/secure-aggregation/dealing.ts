/**
 * Shares of one client's two secrets: dealt to everybody on the roster, the dealer included, and opened by their holders. The share of a
 * holder stands at the point of its place plus one, which is never sent (security specification, section 2.2).
 */
import { assert } from '../core/assert.ts';
import { concatBytes, fromHex } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import type { Entropy } from '../core/ports.ts';
import { agree } from '../crypto/key-agreement.ts';
import { deriveKey } from '../crypto/key-derivation.ts';
import { openBox, sealBox } from '../crypto/secret-box.ts';
import { splitSecret } from '../crypto/secret-sharing.ts';
import type { ClientSecrets, HeldShares } from './client-state.ts';
import type { Members } from './members.ts';
import { type Delivery, type Shares, secretBytes, shareBoxInfo, shareHashOf } from './messages.ts';

/** Who deals to whom, by place. */
interface Pair {
  readonly dealer: number;
  readonly holder: number;
}

/** HKDF(X25519(c, C), rosterHash, "TRIB/share" ‖ dealer ‖ holder). */
function boxKeyOf(secret: Uint8Array, otherKey: Uint8Array, rosterHash: Digest, pair: Pair): Uint8Array {
  const agreed = agree(secret, otherKey);
  assert(agreed !== null, 'a roster has no keys of low order');
  const info = shareBoxInfo(pair.dealer, pair.holder);
  const key = deriveKey({ secret: agreed, salt: fromHex(rosterHash), info });
  agreed.fill(0);
  return key;
}

/** What dealing gives: the body of M2 and the shares that the dealer keeps. */
export interface Dealing {
  readonly shares: Shares;
  readonly own: NonNullable<HeldShares>;
}

/** Deals both secrets of the client at `place`. Cost: O(clients x threshold) for the polynomials and one key agreement a client. */
export function dealShares(
  { rosterHash, members }: Members,
  place: number,
  { secrets, threshold, entropy }: { secrets: ClientSecrets; threshold: number; entropy: Entropy },
): Dealing {
  const numbers = { shareCount: members.length, threshold };
  const maskShares = splitSecret(secrets.mask, numbers, entropy);
  const selfShares = splitSecret(secrets.self, numbers, entropy);
  const hashesFor = (holder: number) => ({
    maskHash: shareHashOf(rosterHash, { dealer: place, holder }, 'mask', maskShares[holder]!),
    selfHash: shareHashOf(rosterHash, { dealer: place, holder }, 'self', selfShares[holder]!),
  });
  const dealt: Shares['dealt'][number][] = [];
  for (const { place: holder, advert } of members) {
    if (holder === place) continue;
    const [maskShare, selfShare] = [maskShares[holder]!, selfShares[holder]!];
    const key = boxKeyOf(secrets.box, advert.boxKey, rosterHash, { dealer: place, holder });
    const text = concatBytes(maskShare, selfShare);
    dealt.push({ holder, box: sealBox(key, text), ...hashesFor(holder) });
    for (const secret of [key, text, maskShare, selfShare]) secret.fill(0);
  }
  const own = { mask: maskShares[place]!, self: selfShares[place]! };
  return { shares: { rosterHash, place, dealt, own: hashesFor(place) }, own };
}

/** The shares in a box, or null when it does not open or holds other shares than its dealer's hashes say. */
export function openShares(
  { dealer, box, maskHash, selfHash }: Delivery['boxes'][number],
  { rosterHash, members }: Members,
  own: { readonly place: number; readonly secrets: ClientSecrets },
): HeldShares {
  const pair = { dealer, holder: own.place };
  const key = boxKeyOf(own.secrets.box, members[dealer]!.advert.boxKey, rosterHash, pair);
  const text = openBox(key, box);
  key.fill(0);
  if (text === null) return null;
  const [mask, self] = [text.slice(0, secretBytes), text.slice(secretBytes)];
  text.fill(0);
  const isTrue =
    shareHashOf(rosterHash, pair, 'mask', mask) === maskHash &&
    shareHashOf(rosterHash, pair, 'self', self) === selfHash;
  return isTrue ? { mask, self } : null;
}
