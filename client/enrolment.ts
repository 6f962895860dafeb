/**
 * Enrolment: redeems the one-time token of an enrolment code over HTTP with this client's own key. The request may be repeated, because the
 * coordinator gives the same key the same answer; so a lost answer costs nothing, and a client that waits for its operator's approval asks
 * with growing delays until it is there.
 */
import * as z from 'zod/mini';
import { toHex } from '../shared/core/bytes.ts';
import { errorMessage, TransportError } from '../shared/core/errors.ts';
import type { Result } from '../shared/core/result.ts';
import { refuse, succeed } from '../shared/core/result.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import type { EnrolmentCode } from '../shared/protocol/enrolment-code.ts';
import { enrolmentAnswerSchema, sealEnrolment } from '../shared/protocol/handshake.ts';
import { type Violation, violation, violationSchema } from '../shared/protocol/violations.ts';
import type { Credentials, JsonAnswer, Platform } from './platform/ports.ts';
import { untilAborted, wait } from './platform/wait.ts';
import { backoffMs, jitter } from './session/backoff.ts';

/** What {@link enrol} needs. */
export interface EnrolOptions {
  readonly platform: Pick<Platform, 'clock' | 'entropy' | 'requestJson'>;
  readonly identity: Identity;
  readonly code: EnrolmentCode;
  /** Name shown to the coordinator's operator, 1 to 200 characters. */
  readonly name: string;
  /** Called once when the token is redeemed, before approval: from now on the code is used up. */
  readonly onRedeemed: () => Promise<void>;
  /** Called once when the operator has to approve this client. */
  readonly onPending: () => void;
  /** Called when nobody answered; the request is sent again after `retryMs`. */
  readonly onUnanswered: (detail: string, retryMs: number) => void;
  readonly signal: AbortSignal;
}

/** Milliseconds for the answer to an enrolment. */
const enrolTimeoutMs = 20_000;

/** The credentials that a code and a key make; good once {@link enrol} succeeded. */
export function credentialsOf(code: EnrolmentCode, { clientId }: Identity): Credentials {
  const { url, federationId, coordinatorKey, consortium } = code;
  return { url: url.replace(/\/+$/, ''), federationId, coordinatorKey: toHex(coordinatorKey), clientId, consortium };
}

/** Enrols and waits until the client is approved, or says why it is refused. @throws the reason of `signal` when it aborts. */
export async function enrol(options: EnrolOptions): Promise<Result<null, Violation>> {
  const { platform, identity, code, name, onRedeemed, onPending, onUnanswered, signal } = options;
  const expected = credentialsOf(code, identity);
  const request = sealEnrolment(identity, { token: code.token, name, federationId: code.federationId });
  let isRedeemed = false;
  for (let attempt = 1; ; attempt++) {
    const retryMs = backoffMs(attempt, jitter(platform.entropy));
    try {
      const answer = await untilAborted(
        platform.requestJson(`${expected.url}/v1/enrol`, enrolTimeoutMs, request),
        signal,
      );
      const status = readAnswer(answer, expected);
      if (!status.ok) return status;
      if (!isRedeemed) await onRedeemed();
      if (status.value === 'approved') return succeed(null);
      if (!isRedeemed) onPending();
      isRedeemed = true;
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof TransportError)) throw thrown;
      onUnanswered(errorMessage(thrown), retryMs);
    }
    await wait(platform.clock, retryMs, signal);
  }
}

const refusalSchema = z.object({ violation: violationSchema });

/** The status in an answer, or the refusal. @throws TransportError when it is no answer of a coordinator: a proxy may stand in between. */
function readAnswer({ status, body }: JsonAnswer, expected: Credentials): Result<'approved' | 'pending', Violation> {
  const refused = z.safeParse(refusalSchema, body);
  if (refused.success) return refuse(refused.data.violation as Violation);
  const answer = z.safeParse(enrolmentAnswerSchema, body);
  if (status !== 200 || !answer.success) {
    throw new TransportError('no-answer', `${expected.url} gave no answer to the enrolment (status ${status})`);
  }
  const { clientId, federationId, coordinatorKey } = answer.data;
  const isExpected =
    clientId === expected.clientId &&
    federationId === expected.federationId &&
    toHex(coordinatorKey) === expected.coordinatorKey;
  if (isExpected) return succeed(answer.data.status);
  return refuse(violation('wrong-federation', 'the answer names another client, federation or key than the code'));
}
