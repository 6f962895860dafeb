/**
 * Replays a published round from what its plan retained: every update is the one that its client signed, and the version is what the plan's
 * rule makes of them. Trusts nothing but the signatures: the version that was published is compared with one made anew.
 */
import { float32Of, fromHex, toHex } from '../../shared/core/bytes.ts';
import { errorMessage, FederationError } from '../../shared/core/errors.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { clientIdOf } from '../../shared/crypto/identity.ts';
import type { KeyStream } from '../../shared/crypto/key-stream.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { updateFormat } from '../../shared/protocol/bodies.ts';
import { encodeMessage } from '../../shared/protocol/codec.ts';
import { openEnvelope } from '../../shared/protocol/envelope.ts';
import { transcriptHashOf, type VersionRecord } from '../../shared/protocol/version-record.ts';
import { describe } from '../../shared/protocol/violations.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import { aggregate, type Candidate } from '../aggregation/aggregate.ts';
import type { OperatorModel } from '../canary/operator.ts';
import type { CheckedVersion } from '../library/lineage.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { UpdateRecord } from '../store/store.ts';
import type { Evidence, Transcript } from './log-store.ts';
import { openMaskedRound } from './replay-masked.ts';

/** What a replay works with. */
export interface ReplaySource {
  readonly plan: Plan;
  readonly exchange: Exchange;
  readonly transcript: Transcript;
  /** All versions, checked: the round's own and the one that it started from are among them. */
  readonly versions: readonly CheckedVersion[];
  /** Public keys of clients, hex. */
  readonly keys: ReadonlyMap<ClientId, string>;
  readonly blobs: CoordinatorBlobs;
  /** Judges certificates of masked rounds as they were at a time. */
  readonly judgeAt: (timeMs: number) => JudgeCertificate;
  /** The noise of the round, where the coordinator added some and kept its seed; used up. */
  readonly noise?: KeyStream | null;
  /** The norm to which updates were cut, where it follows them. */
  readonly clipNorm?: number | null;
  /** Makes the coordinator's own step again, for rules that compare updates with one. */
  readonly rootStep?: OperatorModel['rootUpdate'] | null;
}

/**
 * How far a version of a rule with a step of the coordinator may be from the one made again, as a share of the length of its step: the step is trained,
 * and back ends sum in other orders. Every other rule has to give the same bytes.
 */
const stepTolerance = 0.01;

/** What a replay found. */
export interface ReplayVerdict {
  readonly roundIndex: number;
  readonly version: number;
  readonly updateCount: number;
  /** Length of the difference to what was published, as a share of the length of its step; 0 where the bytes are the same. */
  readonly deviation: number;
  readonly faults: readonly { readonly code: string; readonly detail: string }[];
}

/** What a transcript is judged by. */
type JudgedTranscript = Pick<ReplaySource, 'transcript' | 'versions' | 'keys'>;

/** What signatures and hashes say of a transcript, without any update. @throws FederationError `no-such-round` when no version is of this round. */
export function judgeTranscript(source: JudgedTranscript) {
  const { transcript: whole, versions } = source;
  const { roundIndex } = whole;
  const made = versions.find(({ row }) => row.roundIndex === roundIndex);
  const before = made === undefined ? undefined : versions[made.row.version - 1];
  if (made === undefined || before === undefined)
    throw new FederationError('no-such-round', `no version is of round ${roundIndex}`);
  const faults: { code: string; detail: string }[] = [];
  const fault = (code: string, detail: string): void => void faults.push({ code, detail });
  const { record } = made;
  // Of a masked round vectors of clients that vanished later are there too; they are not in the sum.
  const updates = whole.updates.filter(({ clientId }) => record.contributors.includes(clientId));
  const signers = updates.map(({ clientId }) => clientId);
  if (signers.join() !== record.contributors.join())
    fault('aggregate-tamper', 'the retained updates are of other clients than the contributors of the version');
  const { roundHash = null, transcriptHash = null } = record.round ?? {};
  if (roundHash === null || transcriptHashOf(roundHash, updates) !== transcriptHash)
    fault('aggregate-tamper', 'the retained updates are not those of the transcript that the version names');
  const isMasked = whole.roundParams !== null;
  for (const update of isMasked ? [] : updates) {
    const found = judgeUpdate(update, source, record);
    if (found !== null) fault('unsigned-update', `client ${update.clientId.slice(0, 8)}: ${found}`);
  }
  return { made, before, updates, faults };
}

/** Replays one round. Costs what aggregating it cost. @throws FederationError `no-such-round` when no version is of this round. */
export async function replayRound(source: ReplaySource): Promise<ReplayVerdict> {
  const { transcript: whole } = source;
  const { made, before, updates, faults } = judgeTranscript(source);
  const { record } = made;
  const fault = (code: string, detail: string): void => void faults.push({ code, detail });
  let deviation = 0;
  try {
    const again = await makeAgain({ ...source, transcript: { ...whole, updates } }, before, record);
    const digest = digestOf(again.adapterBytes);
    const isSame = digest === record.adapterDigest;
    const isTrained = (source.rootStep ?? null) !== null;
    if (!isSame && isTrained)
      deviation = deviationOf({
        again: again.adapterBytes,
        published: await source.blobs.get(record.adapterDigest),
        start: await source.blobs.get(before.record.adapterDigest),
      });
    if (!isSame && (!isTrained || !(deviation <= stepTolerance)))
      fault('aggregate-tamper', `the updates give the adapter ${digest}, published was ${record.adapterDigest}`);
    if (isSame && again.ruleState !== made.row.ruleState)
      fault(
        'aggregate-tamper',
        'the updates give another state of the rule than the one from which the next round starts',
      );
  } catch (thrown) {
    if (!(thrown instanceof FederationError)) throw thrown;
    fault(thrown.code, errorMessage(thrown));
  }
  return { roundIndex: whole.roundIndex, version: made.row.version, updateCount: updates.length, deviation, faults };
}

/** |again - published| / |published - start|; infinite where what is published did not move and what was made again did. */
function deviationOf(bytes: {
  readonly again: Uint8Array;
  readonly published: Uint8Array;
  readonly start: Uint8Array;
}) {
  const [again, published, start] = [float32Of(bytes.again), float32Of(bytes.published), float32Of(bytes.start)];
  let [difference, step] = [0, 0];
  for (const [index, value] of published.entries()) {
    difference += (again[index]! - value) ** 2;
    step += (value - start[index]!) ** 2;
  }
  return Math.sqrt(difference / step);
}

/** What the rule makes of the retained updates. */
async function makeAgain(
  { plan, exchange, transcript, blobs, judgeAt, noise = null, clipNorm = null, rootStep = null }: ReplaySource,
  before: CheckedVersion,
  { round, contributors, createdAtMs }: VersionRecord,
): Promise<Candidate> {
  const { roundParams } = transcript;
  const masked =
    roundParams === null
      ? null
      : await openMaskedRound({
          ...{ plan, exchange, blobs },
          transcript: { ...transcript, roundParams },
          judgeCertificate: judgeAt(createdAtMs),
        });
  if (masked !== null && (masked.roundHash !== round!.roundHash || masked.contributors.join() !== contributors.join()))
    throw new FederationError(
      'aggregate-tamper',
      'the retained messages open a sum of another round or of other clients',
    );
  const { roundIndex } = round!;
  const drawHash = masked?.drawHash ?? round!.roundHash;
  const startBytes = await blobs.get(before.record.adapterDigest);
  return aggregate({
    plan,
    exchange,
    roundIndex,
    roundHash: drawHash,
    root: rootStep === null ? null : await rootStep(float32Of(startBytes), { roundIndex, drawHash }),
    startBytes,
    ruleState: before.row.ruleState,
    updates: transcript.updates.filter(({ clientId }) => contributors.includes(clientId)),
    opened: masked?.opened ?? null,
    blobs,
    accumulator: new Float64Array(exchange.uploaded.dim),
    clipNorm,
    ...(noise === null ? {} : { entropy: noise }),
  });
}

/** What is wrong with the evidence of an update, or null: its client signed this very delta with this weight, for this round. */
function judgeUpdate(
  update: UpdateRecord,
  { transcript, keys }: JudgedTranscript,
  { round }: VersionRecord,
): string | null {
  const { clientId } = update;
  const key = keys.get(clientId);
  const evidence = transcript.evidence.find((one) => one.clientId === clientId);
  if (key === undefined || clientIdOf(fromHex(key)) !== clientId) return 'its key is not known';
  if (evidence === undefined) return 'what it signed was not retained';
  const opened = openEvidence(evidence, key);
  if (!opened.ok) return describe(opened.error);
  const { envelope, body } = opened.value;
  if (envelope.bodyHash !== update.bodyHash) return 'it signed another announcement than the transcript names';
  if (body.roundHash !== round?.roundHash) return 'it signed an update of another round';
  if (body.vecRoot !== update.delta) return 'it signed another delta than the one that was retained';
  return body.exampleCount === update.exampleCount ? null : 'it signed another example count';
}

function openEvidence({ clientId, envelope, body, signature }: Evidence, key: string) {
  const frame = encodeMessage({ envelope: fromHex(envelope), body: fromHex(body), signature: fromHex(signature) });
  // The time and the number of the envelope were judged when it arrived.
  return openEnvelope(frame, {
    type: 'UPDATE',
    format: updateFormat,
    clientId,
    publicKey: fromHex(key),
    nowMs: 0,
    windowMs: Number.POSITIVE_INFINITY,
    lastSequence: 0n,
  });
}

/** Public keys as a log names them; a client id is the hash of its key, so that nothing here has to be believed. */
export function keysOf(
  clients: readonly { readonly clientId: ClientId; readonly publicKey: string }[],
): ReadonlyMap<ClientId, string> {
  return new Map(clients.map(({ clientId, publicKey }) => [clientId, toHex(fromHex(publicKey))]));
}
