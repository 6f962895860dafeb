/**
 * What clients and coordinator say in a masked round (security specification, section 2.2), as canonical bodies, and the hashes that bind
 * them. Clients sign M1 to M5 over their bodies, each of which names its round, its sender and its kind: a signature is good for one place in
 * one round. Places are indices of the roster; sets of places are bitmaps.
 *
 * | | from | body | says |
 * |---|---|---|---|
 * | M1 | client | {@link Advert} | keys of this attempt |
 * | R1 | coordinator | {@link Roster} | who takes part, with everybody's M1 |
 * | M2 | client | {@link Shares} | shares of both secrets, one box per holder |
 * | R2 | coordinator | {@link Delivery} | the boxes for one holder |
 * | M3 | client | {@link Masked} | root of the masked vector that follows in chunks |
 * | R3 | coordinator | {@link Survivors} | whose vectors are in the sum |
 * | M4 | client | {@link Agree} | consent to these survivors |
 * | R4 | coordinator | {@link Quorum} | the consents |
 * | M5 | client | {@link Unmask} | one share of every dealer |
 *
 * In rounds that are divided into groups (`division.ts`) M2, R2, M3 and M5 are of one group, whose hash stands in the place of the roster's; M4 and R4
 * are of the whole roster. There
 *
 * | | from | body | says |
 * |---|---|---|---|
 * | M1b | client | {@link Draw} | the nonce to which its M1 committed |
 * | R1b | coordinator | {@link Drawn} | all nonces |
 * | R3 | coordinator | {@link Outcome} | which groups have survivors enough, and those of the own |
 */

import { concatBytes, fromHex, utf8 } from '../core/bytes.ts';
import type { ClientId, Digest } from '../core/ids.ts';
import { chunkBytesMax } from '../core/limits.ts';
import { digestOf } from '../crypto/hash.ts';
import { boxBytes } from '../crypto/secret-box.ts';
import type { SignatureType } from '../crypto/signature-input.ts';
import { bytes, encodeCanonical, raw, u16, u53, type ValueOf } from '../protocol/canonical.ts';
import { clientId, digest, list, maybe, structure } from '../protocol/canonical-compound.ts';
import { completeGraphMax, groupedClientsMax } from './threshold.ts';

/** Bytes of every secret that is shared. */
export const secretBytes = 32;
/** Bytes of a nonce from which groups are drawn. */
export const nonceBytes = 32;
/** Bytes of a box: a share of either secret, sealed. */
const shareBoxBytes = 2 * secretBytes + boxBytes.overhead;
/** Bytes of a certificate of membership. */
const certificateBytesMax = 4096;
/** Chunks of a masked vector: 2^26 words of four bytes, and the tail. */
const vectorChunksMax = Math.ceil((4 * 2 ** 26) / chunkBytesMax) + 1;

/** M1, signed `ADVERT`. */
export const advertFormat = structure({
  roundHash: digest,
  clientId,
  /** SHA-256 of the sender's certificate. */
  certificateHash: digest,
  /** X25519 key c for the boxes of shares. */
  boxKey: raw(32),
  /** X25519 key s for pairwise masks. */
  maskKey: raw(32),
  /** Commitment to the secret b of the self mask. */
  selfCommitment: digest,
  /** The last checkpoint of the coordinator's log that the sender saw: forks of the log show (amendment 8). */
  checkpoint: structure({ size: u53, root: digest }),
  /** Commitment to the nonce from which groups are drawn; absent where a round has none. */
  draw: maybe(digest),
});
/** Keys of one attempt. */
export type Advert = ValueOf<typeof advertFormat>;

const rosterEntry = structure({
  /** Canonical bytes of the M1 and their signature. */
  advert: bytes(1024),
  signature: raw(64),
  /** The sender's Ed25519 key, whose hash is its client id, and its certificate. */
  publicKey: raw(32),
  certificate: bytes(certificateBytesMax),
});
/** One client as the roster shows it. */
export type RosterEntry = ValueOf<typeof rosterEntry>;

/** R1: the entries in the order of client ids; the index is the place. */
export const rosterFormat = structure({ entries: list(rosterEntry, groupedClientsMax) });
/** Who takes part. */
export type Roster = ValueOf<typeof rosterFormat>;

/** M1b, signed `DRAW`. */
export const drawFormat = structure({ rosterHash: digest, place: u16, nonce: raw(nonceBytes) });
/** The nonce to which an M1 committed. */
export type Draw = ValueOf<typeof drawFormat>;

/** R1b: the nonces in the order of places. */
export const drawnFormat = structure({ rosterHash: digest, nonces: list(raw(nonceBytes), groupedClientsMax) });
/** All nonces. */
export type Drawn = ValueOf<typeof drawnFormat>;

const shareHashes = structure({ maskHash: digest, selfHash: digest });
/** Hashes of the two shares that one holder has of one dealer. */
export type ShareHashes = ValueOf<typeof shareHashes>;

/** M2, signed `SHARES`. */
export const sharesFormat = structure({
  rosterHash: digest,
  place: u16,
  /** For every place but the own one, ascending. */
  dealt: list(
    structure({ holder: u16, box: raw(shareBoxBytes), maskHash: digest, selfHash: digest }),
    completeGraphMax,
  ),
  /** Of the shares that the dealer keeps. */
  own: shareHashes,
});
/** Shares of both secrets of one dealer. */
export type Shares = ValueOf<typeof sharesFormat>;

/** R2, to one holder. */
export const deliveryFormat = structure({
  rosterHash: digest,
  /** U2: whose M2 arrived. */
  dealers: bytes(completeGraphMax / 8),
  /** From every dealer but the holder, ascending. */
  boxes: list(
    structure({ dealer: u16, box: raw(shareBoxBytes), maskHash: digest, selfHash: digest }),
    completeGraphMax,
  ),
});
/** The boxes for one holder. */
export type Delivery = ValueOf<typeof deliveryFormat>;

/** M3, signed `MASKED`; the vector follows in chunks. */
export const maskedFormat = structure({
  rosterHash: digest,
  dealersHash: digest,
  place: u16,
  vecRoot: digest,
  chunkDigests: list(digest, vectorChunksMax),
});
/** Announcement of a masked vector. */
export type Masked = ValueOf<typeof maskedFormat>;

/** R3. */
export const survivorsFormat = structure({
  rosterHash: digest,
  /** U3: whose vector is durable. */
  survivors: bytes(completeGraphMax / 8),
  /** Over the roots of their vectors ({@link inputsRootOf}). */
  inputsRoot: digest,
});
/** Whose vectors are in the sum. */
export type Survivors = ValueOf<typeof survivorsFormat>;

/** R3 of a round with groups. */
export const outcomeFormat = structure({
  rosterHash: digest,
  /** By group what its survivors are bound by ({@link survivorsHashOf}); zeros where it has too few and opens nothing. */
  groups: list(digest, groupedClientsMax),
  /** The survivors of the reader's group; absent where it is left out. */
  own: maybe(survivorsFormat),
});
/** Which groups have survivors enough. */
export type Outcome = ValueOf<typeof outcomeFormat>;

/** M4, signed `AGREE`. */
export const agreeFormat = structure({ rosterHash: digest, place: u16, survivorsHash: digest });
/** Consent to a set of survivors. */
export type Agree = ValueOf<typeof agreeFormat>;

/** R4. */
export const quorumFormat = structure({
  survivorsHash: digest,
  /** By place, ascending. */
  signatures: list(structure({ place: u16, signature: raw(64) }), groupedClientsMax),
});
/** Consents of a quorum. */
export type Quorum = ValueOf<typeof quorumFormat>;

/** M5, signed `UNMASK`. */
export const unmaskFormat = structure({
  survivorsHash: digest,
  place: u16,
  /**
   * One of every dealer, ascending: of a survivor the share of its self secret, of any other that of its mask secret, never both. Null where
   * what the dealer sent was no share.
   */
  shares: list(structure({ dealer: u16, share: maybe(raw(secretBytes)) }), completeGraphMax),
});
/** What removes the masks. */
export type Unmask = ValueOf<typeof unmaskFormat>;

/** Kinds of signed messages with their formats. */
export const signedKinds = {
  ADVERT: advertFormat,
  SHARES: sharesFormat,
  MASKED: maskedFormat,
  AGREE: agreeFormat,
  UNMASK: unmaskFormat,
} as const satisfies { readonly [Type in SignatureType]?: unknown };

const twoBytes = (value: number): Uint8Array => Uint8Array.of(value & 255, value >> 8);

/** Hash of a roster: binds every M1 with its signature to the round. */
export function rosterHashOf(roundHash: Digest, { entries }: Roster): Digest {
  const signed = structure({ advert: bytes(1024), signature: raw(64) });
  const encoded = encodeCanonical(list(signed, groupedClientsMax), entries);
  return digestOf(utf8('TRIB-ROSTER'), fromHex(roundHash), encoded);
}

/** Commitment to the secret of a self mask; the secret has 256 bits, so that the hash hides it. */
export function selfCommitmentOf(roundHash: Digest, client: ClientId, secret: Uint8Array): Digest {
  return digestOf(utf8('TRIB-B'), fromHex(roundHash), fromHex(client), secret);
}

/** Which secret a share is of. */
export type ShareKind = 'mask' | 'self';

/** Hash by which a dealer commits to a share: a holder that changes it is seen at once. */
export function shareHashOf(
  rosterHash: Digest,
  pair: { readonly dealer: number; readonly holder: number },
  kind: ShareKind,
  share: Uint8Array,
): Digest {
  const places = concatBytes(twoBytes(pair.dealer), twoBytes(pair.holder), Uint8Array.of(kind === 'mask' ? 0 : 1));
  return digestOf(utf8('TRIB-SC'), fromHex(rosterHash), places, share);
}

/** Hash of the set U2 of dealers. */
export function dealersHashOf(rosterHash: Digest, dealers: Uint8Array): Digest {
  return digestOf(utf8('TRIB-U2'), fromHex(rosterHash), encodeCanonical(bytes(completeGraphMax / 8), dealers));
}

/** Hash over the roots of the survivors' vectors, in the order of places. */
export function inputsRootOf(vecRoots: readonly Digest[]): Digest {
  return digestOf(utf8('TRIB-INPUTS'), encodeCanonical(list(digest, completeGraphMax), vecRoots));
}

/** Hash of the set U3 of survivors and of what they put in: what a quorum consents to. */
export function survivorsHashOf(dealersHash: Digest, { rosterHash, survivors, inputsRoot }: Survivors): Digest {
  const set = encodeCanonical(bytes(completeGraphMax / 8), survivors);
  return digestOf(utf8('TRIB-U3'), fromHex(rosterHash), fromHex(dealersHash), set, fromHex(inputsRoot));
}

/** What stands for a group that is left out. */
export const noGroup = '00'.repeat(32) as Digest;

/** Hash of the survivors of all groups: what a quorum of the whole roster consents to. */
export function outcomeHashOf({ rosterHash, groups }: Pick<Outcome, 'rosterHash' | 'groups'>): Digest {
  const encoded = encodeCanonical(list(digest, groupedClientsMax), groups);
  return digestOf(utf8('TRIB-OUTCOME'), fromHex(rosterHash), encoded);
}

/** Info of the key of a box of shares: "TRIB/share" ‖ u16 dealer ‖ u16 holder. */
export function shareBoxInfo(dealer: number, holder: number): Uint8Array {
  return concatBytes(utf8('TRIB/share'), twoBytes(dealer), twoBytes(holder));
}
