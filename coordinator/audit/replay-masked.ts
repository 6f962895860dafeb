/**
 * Replays a masked round from its retained transcript: what clients signed (M1 to M5) goes through the same machine again, which checks every
 * signature, commitment and share; then the masks are taken off the retained vectors. An auditor sees the sum, and no input.
 */
import { fromHex } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import { decodeRoundParams, encodeRoundParams, roundHashOf } from '../../shared/protocol/round-params.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import { maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import type { RingBits } from '../../shared/secure-aggregation/ring.ts';
import { drawHashOf } from '../../shared/secure-aggregation/terms.ts';
import { vectorBytesOf } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import { decodeAttemptMessage } from '../masking/attempt-log.ts';
import { type AttemptEffect, createAttemptMachine } from '../masking/attempt-machine.ts';
import { attemptSettingOf } from '../masking/masked-rounds.ts';
import { openableSums } from '../masking/masked-sum.ts';
import { type OpenedRound, openRound } from '../masking/opened-round.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { Transcript } from './log-store.ts';

/** What a masked round is opened from. */
export interface MaskedReplay {
  readonly plan: Plan;
  readonly exchange: Exchange;
  readonly transcript: Transcript & { readonly roundParams: string };
  /** Judges certificates as they were when the round was made. */
  readonly judgeCertificate: JudgeCertificate;
  readonly blobs: CoordinatorBlobs;
}

/** An opened round. */
export interface OpenedReplay {
  readonly roundHash: Digest;
  /** What the rule draws from. */
  readonly drawHash: Digest;
  readonly contributors: readonly ClientId[];
  readonly opened: OpenedRound;
}

const fault = (detail: string) => new FederationError('transcript-damaged', `the transcript of the round ${detail}`);

/** Opens the sums again. @throws FederationError `transcript-damaged` when what was retained does not open; StoreError on a missing vector. */
export async function openMaskedRound({
  plan,
  exchange,
  transcript,
  judgeCertificate,
  blobs,
}: MaskedReplay): Promise<OpenedReplay> {
  const decoded = decodeRoundParams(fromHex(transcript.roundParams));
  if (!decoded.ok) throw fault('has no parameters');
  const params = decoded.value;
  const { ringBits, dim, tail, suite } = params;
  const roundHash = roundHashOf(encodeRoundParams(params));
  const shape = { ringBits: ringBits as RingBits, dim, tail };
  const events = transcript.messages.map(decodeAttemptMessage);
  const invited = events.flatMap((event) => (event.type === 'advert' ? [event.clientId] : []));
  const demands = attemptSettingOf(params, judgeCertificate);
  const machine = createAttemptMachine({ ...demands, roundHash, invited, vectorBytes: vectorBytesOf(shape) });
  let found: Extract<AttemptEffect, { readonly type: 'open-sums' }> | null = null;
  const roots = new Map<ClientId, Digest>();
  for (const event of events) {
    for (const effect of machine.receive(event)) {
      if (effect.type === 'open-sums') found = effect;
      if (effect.type === 'reject') throw fault(`holds a message that the protocol refuses: ${effect.reason.detail}`);
    }
    const masked = event.type === 'masked' ? decodeCanonical(maskedFormat, event.body, 'M3') : null;
    if (event.type === 'masked' && masked?.ok) roots.set(event.clientId, masked.value.vecRoot);
  }
  if (found === null) throw fault(`ends in phase ${machine.phase()}, not opened`);
  const { openings, groupCount } = found;
  const sums = openableSums(openings, { shape, suite: suite as MaskedSuite, blobs, rootOf: (id) => roots.get(id)! });
  const opened = await openRound({ plan, exchange, params, sums, groupCount, blobs });
  return { roundHash, drawHash: drawHashOf(params), contributors: opened.contributors, opened };
}
