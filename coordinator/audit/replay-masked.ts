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
import { decodeContributions } from '../../shared/secure-aggregation/contribution.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import { maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import type { RingBits } from '../../shared/secure-aggregation/ring.ts';
import { openAttempt, receiveAsServer } from '../../shared/secure-aggregation/server-machine.ts';
import type { Opening, ServerState } from '../../shared/secure-aggregation/server-state.ts';
import { drawHashOf, encodingOf, scaleUses } from '../../shared/secure-aggregation/terms.ts';
import { vectorBytesOf } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import type { OpenedMean } from '../aggregation/aggregate.ts';
import { decodeAttemptMessage } from '../masking/attempt-log.ts';
import { openSum } from '../masking/masked-sum.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { Transcript } from './log-store.ts';

/** What a masked round is opened from. */
export interface MaskedReplay {
  readonly plan: Plan;
  readonly exchange: Exchange;
  readonly transcript: Transcript & { readonly roundParams: string };
  /** Judges certificates as they were when the round was made. */
  readonly judgeCertificate: JudgeCertificate;
  readonly blobs: Pick<CoordinatorBlobs, 'scan'>;
}

/** An opened round. */
export interface OpenedReplay {
  readonly roundHash: Digest;
  /** What the rule draws from. */
  readonly drawHash: Digest;
  readonly contributors: readonly ClientId[];
  readonly opened: OpenedMean;
}

const fault = (detail: string) => new FederationError('transcript-damaged', `the transcript of the round ${detail}`);

/** Opens the sum again. @throws FederationError `transcript-damaged` when what was retained does not open; StoreError on a missing vector. */
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
  const { ringBits, dim, tail, suite, profile, clientCountMin, clientCountMax, organisationCountMin } = params;
  const roundHash = roundHashOf(encodeRoundParams(params));
  const shape = { ringBits: ringBits as RingBits, dim, tail };
  const events = transcript.messages.map(decodeAttemptMessage);
  const invited = events.flatMap((event) => (event.type === 'advert' ? [event.clientId] : []));
  let state: ServerState = openAttempt({
    roundHash,
    profile: profile === 1 ? 'active' : 'semi-honest',
    ...{ clientCountMin, clientCountMax, organisationCountMin, invited, judgeCertificate },
    vectorBytes: vectorBytesOf(shape),
  });
  let opening: Opening | null = null;
  const roots = new Map<ClientId, Digest>();
  for (const event of events) {
    const step = receiveAsServer(state, event);
    state = step.state;
    for (const effect of step.effects) {
      if (effect.type === 'open-sum') opening = effect.opening;
      if (effect.type === 'reject') throw fault(`holds a message that the protocol refuses: ${effect.reason.detail}`);
    }
    const masked = event.type === 'masked' ? decodeCanonical(maskedFormat, event.body, 'M3') : null;
    if (event.type === 'masked' && masked?.ok) roots.set(event.clientId, masked.value.vecRoot);
  }
  if (opening === null || state.phase.name !== 'opened') throw fault(`ends in phase ${state.phase.name}, not opened`);
  const { members, survivors } = state.phase;
  const contributors = survivors.map((place) => members.members[place]!.clientId);
  const summed = contributors.map((clientId) => roots.get(clientId)!);
  const sum = await openSum({ shape, suite: suite as MaskedSuite, roots: summed, opening, blobs });
  const contribution = decodeContributions(sum, encodingOf(params), contributors.length);
  if (contribution === null) throw fault('gives a sum that no honest clients can reach');
  scaleUses(exchange, contribution.mean, plan.task.lengthMax);
  return { roundHash, drawHash: drawHashOf(params), contributors, opened: contribution };
}
