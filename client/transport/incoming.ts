/**
 * What the coordinator says, decoded and verified under the pinned key, as events of the session machine. A message whose signature does not hold is a violation and says nothing else.
 */
import type { Digest } from '../../shared/core/ids.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import { decodeMessage } from '../../shared/protocol/codec.ts';
import { finishedSchema, openEvaluate, openOffer, openResult } from '../../shared/protocol/messages.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import { openVoid } from '../../shared/protocol/void-record.ts';
import { openStage } from '../../shared/secure-aggregation/stage.ts';
import type { SessionEvent } from '../session/machine.ts';
import type { IncomingEvent } from './transport.ts';

/** What a message is judged by. */
export interface IncomingFacts {
  /** The key that was pinned at enrolment, 32 bytes. */
  readonly coordinatorKey: Uint8Array;
  /** Whether this client prepared a round, so that it can evaluate for it. */
  readonly knows: (roundHash: Digest) => boolean;
}

/** Opens one message: else `bad-frame`, `wrong-signature` or `protocol-version`. */
export function readIncoming(
  event: IncomingEvent,
  frame: Uint8Array,
  { coordinatorKey, knows }: IncomingFacts,
): Result<SessionEvent, Violation> {
  switch (event) {
    case 'offer': {
      const offer = openOffer(coordinatorKey, frame);
      return offer.ok ? succeed({ type: 'offer', offer: offer.value }) : offer;
    }
    case 'stage': {
      const stage = openStage(coordinatorKey, frame);
      return stage.ok ? succeed({ type: 'stage', stage: stage.value }) : stage;
    }
    case 'evaluate': {
      const request = openEvaluate(coordinatorKey, frame);
      if (!request.ok) return request;
      return succeed({ type: 'evaluate', request: request.value, known: knows(request.value.roundHash) });
    }
    case 'result': {
      const result = openResult(coordinatorKey, frame);
      return result.ok ? succeed({ type: 'result', result: result.value }) : result;
    }
    case 'void': {
      const record = openVoid(coordinatorKey, frame);
      return record.ok ? succeed({ type: 'void', record: record.value, frame }) : record;
    }
    case 'finished': {
      const finished = decodeMessage(finishedSchema, frame);
      if (!finished.ok) return finished;
      const { status, detail } = finished.value;
      if (status === 'running') return refuse(violation('bad-frame', 'a federation that runs is not finished'));
      return succeed({ type: 'federation-finished', status, detail });
    }
    default:
      return event satisfies never;
  }
}
