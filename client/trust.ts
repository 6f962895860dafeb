/**
 * What a client checks about its coordinator beside the rounds: that its log only grows and holds what this client was told (`log-fork`
 * otherwise), and that members, revocations and plan are signed by the consortium that it pinned. Checkpoints, receipts and proofs of misconduct
 * are kept as files that `tributary audit verify` reads.
 */
import * as z from 'zod/mini';
import { type LogHead, noHead } from '../shared/audit/checkpoint.ts';
import { findPublication, findReceipt, findVoid, type JudgedProof, openLogProof } from '../shared/audit/proof.ts';
import { equalBytes, fromHex, toHex, utf8 } from '../shared/core/bytes.ts';
import { errorMessage, StoreError, TransportError } from '../shared/core/errors.ts';
import type { Digest, FederationId } from '../shared/core/ids.ts';
import { refuse } from '../shared/core/result.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import { judgeCertificates, judgeMember } from '../shared/identity/certificate.ts';
import { type Consortium, consortiumHashOf, decodeConsortium } from '../shared/identity/consortium.ts';
import { writeDocument } from '../shared/identity/documents.ts';
import { judgeApproval } from '../shared/identity/plan-approval.ts';
import { judgeAge, openRevocations, type Revocations } from '../shared/identity/revocations.ts';
import type { Policy } from '../shared/plan/policy.ts';
import type { Offer, RoundResult } from '../shared/protocol/messages.ts';
import { describe, type Violation, violation } from '../shared/protocol/violations.ts';
import type { VoidRecord } from '../shared/protocol/void-record.ts';
import type { JudgeCertificate } from '../shared/secure-aggregation/members.ts';
import { judgeVouchers } from '../shared/secure-aggregation/voucher.ts';
import type { ClientListener } from './events.ts';
import type { Credentials, Platform } from './platform/ports.ts';
import type { Calls } from './transport/calls.ts';

/** What trust is founded on. */
export interface TrustOptions {
  readonly platform: Pick<Platform, 'clock' | 'evidence'>;
  readonly calls: Calls;
  readonly credentials: Credentials;
  readonly identity: Identity;
  readonly policy: Policy;
  readonly onEvent: ClientListener;
  readonly signal: AbortSignal;
}

/** A client's checks of its coordinator. */
export interface Trust {
  /** The calls, with receipts noted as they come. */
  readonly calls: Calls;
  /**
   * Why this site takes no part in an offer, or null. `documentHash` is of the plan as it is approved; by default the hash that is signed.
   * @throws TransportError, StoreError.
   */
  judgeOffer(offer: Offer, signal: AbortSignal, documentHash?: Digest): Promise<string | null>;
  /** What was found if the log forked, also before a restart, or null; known once an offer was judged. */
  readonly fork: () => string | null;
  /** Judges members of rosters. */
  readonly judgeCertificate: JudgeCertificate;
  /** This client's own certificate; empty where the coordinator vouches for it. */
  readonly certificate: () => Uint8Array;
  /** The newest checkpoint that held. */
  readonly head: () => LogHead;
  /** Looks up a published round in the log, beside whatever else happens. */
  witness(result: RoundResult): void;
  /** Keeps what was signed about a void round, and looks it up in the log. */
  witnessVoid(record: VoidRecord, frame: Uint8Array): void;
  /** Resolves when nothing is being looked up any more. */
  settled(): Promise<void>;
}

const headSchema = z.object({ size: z.int(), root: z.string().check(z.regex(/^[0-9a-f]{64}$/)) });
const listSchema = z.object({ number: z.int() });
const forkSchema = z.object({ found: z.nullable(z.string()) });
/** Name of the file with this site's certificate among the evidence. */
export const certificateName = (federationId: FederationId): string => `${federationId}-certificate.json`;
/** Receipts of rounds that are not over yet. */
const receiptsKept = 16;

/** Nothing checked yet. */
export function createTrust(options: TrustOptions): Trust {
  const { platform, calls, credentials, identity, policy, onEvent, signal } = options;
  const { clock, evidence } = platform;
  const { federationId, consortium: pinned } = credentials;
  const coordinatorKey = fromHex(credentials.coordinatorKey);
  const receipts = new Map<Digest, Digest>();
  let head: LogHead | null = null;
  let forked: string | null = null;
  let facts: { readonly consortium: Consortium; readonly revocations: Revocations } | null = null;
  let ownCertificate = new Uint8Array(0);
  let looking: Promise<void> = Promise.resolve();

  const keep = (name: string, value: object): Promise<void> =>
    evidence.write(`${federationId}-${name}.json`, utf8(`${JSON.stringify(value, null, 1)}\n`));
  const kept = async <Value>(name: string, schema: z.ZodMiniType<Value>, absent: Value): Promise<Value> => {
    const bytes = await evidence.read(`${federationId}-${name}.json`);
    if (bytes === null) return absent;
    try {
      return z.parse(schema, JSON.parse(new TextDecoder().decode(bytes)));
    } catch (cause) {
      const next =
        'put back a copy of it; without one this site cannot tell an old log from the one it knows, and has to enrol anew';
      throw new StoreError(
        'evidence-damaged',
        `evidence/${federationId}-${name}.json is no ${name} that this program wrote; ${next}`,
        {
          cause,
        },
      );
    }
  };
  const newestHead = async (): Promise<LogHead> => {
    head ??= (await kept('checkpoint', headSchema, noHead)) as LogHead;
    return head;
  };
  /** Keeps what proves the misconduct, and takes part in nothing any more. */
  const alarm = async (found: Violation, proof: Uint8Array, roundIndex: number): Promise<void> => {
    forked = describe(found);
    await keep('fork', { found: forked });
    onEvent({ type: 'problem', code: found.code, detail: forked });
    await keep(`misconduct-${roundIndex}`, { ...(await newestHead()), found, proof: toHex(proof) });
  };

  /** Asks for the log from what is known of it; the bytes of a proof that holds, or null. */
  const follow = async (
    roundIndex: number,
    receipt: Digest | null,
    judge: (proof: JudgedProof) => Violation | null,
  ): Promise<Uint8Array | null> => {
    const known = await newestHead();
    const answer = await calls.prove({ size: known.size, roundIndex, receipt }, signal);
    if (!answer.ok) {
      onEvent({ type: 'problem', code: answer.error.code, detail: `no proof from the log: ${describe(answer.error)}` });
      return null;
    }
    const proof = openLogProof(answer.value, { coordinatorKey, federationId, known });
    const fault = proof.ok ? judge(proof.value) : proof.error;
    if (!proof.ok || fault !== null) {
      await alarm(fault!, answer.value, roundIndex);
      return null;
    }
    const { size, root } = proof.value.checkpoint;
    head = { size, root };
    await keep('checkpoint', head);
    return answer.value;
  };
  const lookUpVoid = async ({ roundIndex }: VoidRecord, frame: Uint8Array): Promise<void> => {
    const { coordinatorKey: key } = credentials;
    const record = toHex(frame);
    await keep(`void-${roundIndex}`, { format: 'tributary-void-1', federationId, coordinatorKey: key, record });
    await follow(roundIndex, null, (proof) =>
      findVoid(proof, record) === null
        ? violation('log-fork', `the log has nothing, or something else, about the void round ${roundIndex}`)
        : null,
    );
  };
  const lookUp = async (result: RoundResult): Promise<void> => {
    const { roundIndex, roundHash } = result;
    const receipt = receipts.get(roundHash) ?? null;
    const proof = await follow(roundIndex, receipt, (found) => judgeProof(found, result, receipt, identity));
    if (proof === null || receipt === null) return;
    receipts.delete(roundHash);
    const { coordinatorKey: key } = credentials;
    const document = { federationId, coordinatorKey: key, roundIndex, receipt, proof: toHex(proof) };
    await keep(`receipt-${roundIndex}`, { format: 'tributary-receipt-1', ...document });
  };

  /** Fetches what the consortium signed and checks all of it: why it is not enough, or null. */
  const judgeMembership = async (planHash: Digest, offerSignal: AbortSignal): Promise<Violation | null> => {
    if (pinned === null) {
      if (policy.planApproval === 'coordinator' || approvedBySite(policy, planHash)) return null;
      return violation(
        'bad-certificate',
        'this site demands plans that a consortium approved, and enrolled without one',
      );
    }
    const answer = await calls.membership(offerSignal);
    if (!answer.ok) return answer.error;
    const { consortium: shown, revocations: shownList, approval, certificate } = answer.value;
    const decoded = shown === null ? null : decodeConsortium(shown);
    if (!decoded?.ok || consortiumHashOf(decoded.value) !== pinned)
      return violation(
        'bad-certificate',
        'the coordinator shows another consortium than the one that this site pinned',
      );
    const consortium = decoded.value;
    if (shownList === null) return violation('stale-revocations', 'the coordinator shows no list of revocations');
    const list = openRevocations(consortium, shownList);
    if (!list.ok) return list.error;
    const { number: numberMin } = await kept('revocations', listSchema, { number: 0 });
    const nowMs = clock.nowMs();
    const stale = judgeAge(list.value, { nowMs, numberMin });
    if (stale !== null) return stale;
    if (list.value.number > numberMin) await keep('revocations', { number: list.value.number });
    const member =
      certificate === null ? null : judgeMember(certificate, { consortium, revocations: list.value, nowMs });
    if (certificate === null || !member?.ok || member.value.clientId !== identity.clientId)
      return member?.ok === false
        ? member.error
        : violation('bad-certificate', 'there is no certificate of this client');
    if (!equalBytes(ownCertificate, certificate)) {
      ownCertificate = Uint8Array.from(certificate);
      const { organisation, serial, epoch } = member.value;
      const text = writeDocument('certificate', ownCertificate, { organisation, serial, epoch });
      await evidence.write(certificateName(federationId), utf8(text));
    }
    facts = { consortium, revocations: list.value };
    if (policy.planApproval === 'coordinator' || approvedBySite(policy, planHash)) return null;
    return approval === null
      ? violation(
          'bad-certificate',
          'the consortium has not approved this plan, and this site demands it (planApproval)',
        )
      : judgeApproval(consortium, planHash, approval);
  };

  /** Looks something up after what is being looked up. */
  const look = (task: () => Promise<void>): void => {
    looking = looking
      .then(() => (forked === null ? task() : undefined))
      .catch((thrown: unknown) => {
        if (signal.aborted || thrown instanceof TransportError) return;
        onEvent({ type: 'problem', code: 'evidence', detail: errorMessage(thrown) });
      });
  };

  /** A member of a roster, which may come hours after the offer: the list of then has to be fresh enough still. */
  const judgeCertified: JudgeCertificate = (certificate, publicKey) => {
    if (facts === null) return refuse(violation('bad-certificate', 'nobody has shown what the consortium signed yet'));
    const now = { ...facts, nowMs: clock.nowMs() };
    const stale = judgeAge(facts.revocations, { nowMs: now.nowMs, numberMin: 0 });
    return stale === null ? judgeCertificates(() => now)(certificate, publicKey) : refuse(stale);
  };
  return {
    calls: {
      ...calls,
      commitUpdate: async (roundHash, callSignal) => {
        const receipt = await calls.commitUpdate(roundHash, callSignal);
        if (receipt.ok) receipts.set(roundHash, receipt.value);
        const oldest = receipts.keys().next();
        if (receipts.size > receiptsKept && !oldest.done) receipts.delete(oldest.value);
        return receipt;
      },
    },
    judgeOffer: async ({ roundParams }, offerSignal, documentHash = roundParams.planHash) => {
      forked ??= (await kept('fork', forkSchema, { found: null })).found;
      if (forked !== null) return forked;
      await newestHead();
      const found = await judgeMembership(documentHash, offerSignal);
      return found === null ? null : describe(found);
    },
    fork: () => forked,
    judgeCertificate: pinned === null ? judgeVouchers(coordinatorKey, federationId) : judgeCertified,
    certificate: () => ownCertificate,
    head: () => head ?? noHead,
    witness: (result) => look(() => lookUp(result)),
    witnessVoid: (record, frame) => look(() => lookUpVoid(record, frame)),
    settled: () => looking,
  };
}

const approvedBySite = ({ approvedPlans }: Policy, planHash: Digest): boolean =>
  approvedPlans !== 'any' && approvedPlans.includes(planHash);

/** What the log says otherwise than this client was told, or null. */
function judgeProof(
  proof: JudgedProof,
  { roundHash, roundIndex, resultHash, newModelHash }: RoundResult,
  receipt: Digest | null,
  { clientId }: Identity,
): Violation | null {
  const published = findPublication(proof, roundHash)?.payload;
  if (published?.resultHash !== resultHash || published.modelHash !== newModelHash)
    return violation('log-fork', `the log has another result of round ${roundIndex} than this client was told`);
  if (receipt !== null && findReceipt(proof, receipt)?.payload.clientId !== clientId)
    return violation('log-fork', `the update of round ${roundIndex} was acknowledged and is not in the log`);
  return null;
}
