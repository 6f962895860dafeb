/** Clients of a world that do not follow the protocol. Each has a key and a certificate like everybody; what it sends is its own. */
import type { SeededRandom } from '../../shared/core/random.ts';
import { decodeCanonical, encodeCanonical } from '../../shared/protocol/canonical.ts';
import type { ClientState } from '../../shared/secure-aggregation/client-state.ts';
import { dealShares } from '../../shared/secure-aggregation/dealing.ts';
import { maskedFormat, sharesFormat, unmaskFormat } from '../../shared/secure-aggregation/messages.ts';
import { thresholdsOf } from '../../shared/secure-aggregation/threshold.ts';
import type { SentKind } from '../checkers/attempts.ts';

/**
 * `bad-dealer` deals consistent shares of other secrets than it announced; `bad-boxes` deals boxes that do not open; `bad-responder` answers
 * with a share that it was not dealt; `two-vectors` announces two vectors; `garbage` sends bytes of no format; `liar` signs messages in which one bit is
 * another; `mute` says nothing after its keys.
 */
export const hostileClientNames = [
  'bad-dealer',
  'bad-boxes',
  'bad-responder',
  'two-vectors',
  'garbage',
  'liar',
  'mute',
] as const;
/** Name of a hostile client. */
export type HostileClientName = (typeof hostileClientNames)[number];

/** A message that an honest client would send here. */
export interface Outgoing {
  readonly kind: SentKind;
  readonly body: Uint8Array;
  /** Where it stands in the complete graph, or in that of its group; null before it has one. */
  readonly state: ClientState | null;
  readonly random: SeededRandom;
}

/** A client that bends what it sends. */
export interface HostileClient {
  readonly name: HostileClientName;
  /** The bodies that it sends in place of an honest one. */
  outgoing(message: Outgoing): readonly Uint8Array[];
}

/** Bytes with one bit changed. */
function flipBit(bytes: Uint8Array, random: SeededRandom): Uint8Array {
  const changed = Uint8Array.from(bytes);
  const bit = random.integer(8 * bytes.length);
  changed[bit >> 3]! ^= 1 << (bit & 7);
  return changed;
}

/** M2 with consistent shares of secrets that were never announced: shares that match their hashes and open nothing. */
export function sharesOfOthers({ body, state, random }: Outgoing): Uint8Array {
  if (state?.phase.name !== 'shared') return body;
  const { phase, setting } = state;
  const other = () => Uint8Array.from({ length: 32 }, () => random.integer(256));
  const { members, place, secrets } = phase;
  const { shares } = dealShares(members, place, {
    secrets: { box: secrets.box, mask: other(), self: other() },
    threshold: thresholdsOf(members.members.length, setting.profile).shares,
    entropy: { bytes: (count) => Uint8Array.from({ length: count }, () => random.integer(256)) },
  });
  return encodeCanonical(sharesFormat, shares);
}

/** M2 whose boxes do not open. */
export function sharesThatStayShut({ body, random }: Outgoing): Uint8Array {
  const shares = decodeCanonical(sharesFormat, body, 'M2');
  if (!shares.ok) return body;
  const dealt = shares.value.dealt.map((one) => ({ ...one, box: flipBit(one.box, random) }));
  return encodeCanonical(sharesFormat, { ...shares.value, dealt });
}

/** M5 in which one share is another. */
export function falseAnswer({ body, random }: Outgoing): Uint8Array {
  const unmask = decodeCanonical(unmaskFormat, body, 'M5');
  if (!unmask.ok) return body;
  const chosen = random.integer(unmask.value.shares.length);
  const shares = unmask.value.shares.map(({ dealer, share }, index) =>
    index === chosen && share !== null ? { dealer, share: flipBit(share, random) } : { dealer, share },
  );
  return encodeCanonical(unmaskFormat, { ...unmask.value, shares });
}

/** M3 for a vector that nobody has. */
export function otherVector({ body, random }: Outgoing): Uint8Array {
  const masked = decodeCanonical(maskedFormat, body, 'M3');
  if (!masked.ok) return body;
  const digits = Array.from({ length: 64 }, () => random.integer(16).toString(16)).join('');
  const vecRoot = digits as typeof masked.value.vecRoot;
  return encodeCanonical(maskedFormat, { ...masked.value, vecRoot, chunkDigests: [vecRoot] });
}

/** A hostile client of this name. */
export function hostileClient(name: HostileClientName): HostileClient {
  return {
    name,
    outgoing: (message) => {
      const { kind, body, random } = message;
      switch (name) {
        case 'bad-dealer':
          return [kind === 'SHARES' ? sharesOfOthers(message) : body];
        case 'bad-boxes':
          return [kind === 'SHARES' ? sharesThatStayShut(message) : body];
        case 'bad-responder':
          return [kind === 'UNMASK' ? falseAnswer(message) : body];
        case 'two-vectors':
          return kind === 'MASKED' ? [body, otherVector(message)] : [body];
        case 'garbage':
          return kind === 'ADVERT'
            ? [body]
            : [Uint8Array.from({ length: random.integer(300) }, () => random.integer(256)), body];
        case 'liar':
          return [random.uniform() < 0.3 ? flipBit(body, random) : body];
        case 'mute':
          return kind === 'ADVERT' ? [body] : [];
        default:
          return name satisfies never;
      }
    },
  };
}
