/**
 * What a peer can do wrong, as values: one closed union of kebab-case codes. A violation is counted, answered and never thrown; it holds
 * no key, token, delta or data.
 */
import * as z from 'zod/mini';

/** Every violation with what it means, for people. */
export const violationMeanings = {
  'bad-frame': 'the message is not of the published format',
  'bad-envelope': 'envelope and body do not belong together',
  'wrong-signature': 'the signature does not match the sender and the body',
  'wrong-sender': 'the message names another client than the one that is connected',
  'unknown-client': 'the client is not enrolled',
  'pending-client': 'the client waits for approval by the operator',
  'revoked-client': 'the client was revoked',
  'wrong-federation': 'the message is about another federation',
  'protocol-version': 'the peer speaks another version of the protocol',
  'stale-time': 'the time of the message is too far from ours',
  'stale-challenge': 'the challenge is unknown, used or too old',
  'replayed-sequence': 'the sequence number was used before',
  'stale-round': 'the round is over',
  'unknown-round': 'there is no such round',
  'not-in-cohort': 'the client was not asked in this round',
  'unexpected-event': 'the message does not fit the current phase',
  'layout-mismatch': 'the update has another layout than the round',
  'update-too-large': 'the update is larger than the layout of the round',
  'wrong-length': 'the bytes have another length than announced',
  'chunk-mismatch': 'a chunk does not have its announced digest',
  'root-mismatch': 'the chunk digests do not have the announced root',
  'missing-chunks': 'the update is not complete yet',
  'unknown-upload': 'no update of this round was announced',
  'non-finite': 'the update holds a value that is not finite',
  'conflicting-update': 'the client already sent another update in this round',
  'bad-weight': 'the example count is outside what the round allows',
  'bad-metrics': 'the metrics contradict themselves',
  'late-update': 'the update arrived after the deadline',
  'blob-unknown': 'there are no such bytes here',
  'rate-limited': 'the client sends too much',
  'invite-invalid': 'the invite is unknown, used or expired',
  'bad-roster': 'the roster is not one that this client deals shares to',
  'bad-draw': 'the nonce is not the one that its client committed to',
  'bad-delivery': 'the boxes of shares are not those of the roster',
  'bad-void': 'a void round is announced with another number or model than it had',
  'bad-survivors': 'the survivors are not a set that may be opened',
  'no-quorum': 'too few clients consented to the same survivors',
  'second-unmask': 'one round number is unmasked once',
  'bad-shares': 'the shares are not those of this roster and their dealer',
  'bad-share': 'a share is not the one that its dealer committed to',
  'bad-dealer': 'the shares of a dealer do not give the secret that it committed to',
  'below-threshold': 'too few clients are left to open the sum',
  'out-of-range': 'the sum holds a value that no honest clients can reach',
  'log-fork': 'the log of the coordinator does not go on from what was seen of it',
  'bad-certificate': 'what the consortium has to sign is not good',
  'stale-revocations': 'the list of revocations is too old',
} as const;

/** Name of a violation. */
export type ViolationCode = keyof typeof violationMeanings;

/** Every code, in the order of the table. */
export const violationCodes = Object.keys(violationMeanings) as readonly ViolationCode[];

/** Characters of a detail: enough for a full sentence with two digests. */
const detailCharactersMax = 1000;

/** A violation as it travels. */
export const violationSchema = z.strictObject({
  code: z.enum(violationCodes),
  detail: z.string().check(z.maxLength(detailCharactersMax)),
  roundIndex: z.exactOptional(z.int().check(z.nonnegative())),
});

/** A rule that a peer broke: which, the facts of this case, and the round where there is one. */
export interface Violation {
  readonly code: ViolationCode;
  readonly detail: string;
  readonly roundIndex?: number;
}

/** Makes a violation; an overlong detail is cut. */
export function violation(code: ViolationCode, detail: string, roundIndex?: number): Violation {
  const cut = detail.slice(0, detailCharactersMax);
  return roundIndex === undefined ? { code, detail: cut } : { code, detail: cut, roundIndex };
}

/** One sentence for people. */
export function describe({ code, detail, roundIndex }: Violation): string {
  const round = roundIndex === undefined ? '' : `; round ${roundIndex}`;
  return `${violationMeanings[code]} (${code}): ${detail}${round}`;
}
