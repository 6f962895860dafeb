/** What the coordinator says in a masked round, that it is open and then R1 to R4, with groups R1b and another R3, as signed frames: each names its attempt and its kind. */
import type { Digest } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { succeed } from '../core/result.ts';
import type { Identity } from '../crypto/identity.ts';
import { bytes, decodeCanonical, encodeCanonical } from '../protocol/canonical.ts';
import { digest, oneOf, structure } from '../protocol/canonical-compound.ts';
import { openSigned, sealSigned } from '../protocol/signed.ts';
import type { Violation } from '../protocol/violations.ts';
import type { ClientEvent } from './client-state.ts';
import type { GroupedClientEvent } from './grouped-client.ts';
import { deliveryFormat, drawnFormat, outcomeFormat, quorumFormat, rosterFormat, survivorsFormat } from './messages.ts';

/** Bytes of a body: a roster of 128 clients with certificates of the largest size stays below, and below a message. */
const bodyBytesMax = 900_000;

const stageFormat = structure({
  roundHash: digest,
  kind: oneOf(['open', 'roster', 'delivery', 'survivors', 'quorum', 'drawn', 'outcome']),
  body: bytes(bodyBytesMax),
});

/** That the attempt is open for M1, and R1 to R4 as clients take them. */
export type StageEvent =
  | { readonly type: 'open' }
  | Extract<ClientEvent, { readonly type: 'roster' | 'delivery' | 'survivors' | 'quorum' }>
  | Extract<GroupedClientEvent, { readonly type: 'drawn' | 'outcome' }>;

/** A message of the coordinator with the attempt that it is of. */
export interface Stage {
  readonly roundHash: Digest;
  readonly event: StageEvent;
}

function encodeStage(event: StageEvent): Uint8Array {
  switch (event.type) {
    case 'open':
      return new Uint8Array(0);
    case 'roster':
      return encodeCanonical(rosterFormat, event.roster);
    case 'delivery':
      return encodeCanonical(deliveryFormat, event.delivery);
    case 'survivors':
      return encodeCanonical(survivorsFormat, event.survivors);
    case 'quorum':
      return encodeCanonical(quorumFormat, event.quorum);
    case 'drawn':
      return encodeCanonical(drawnFormat, event.drawn);
    case 'outcome':
      return encodeCanonical(outcomeFormat, event.outcome);
    default:
      return event satisfies never;
  }
}

function decodeStage(kind: StageEvent['type'], body: Uint8Array): Result<StageEvent, Violation> {
  switch (kind) {
    case 'open':
      return succeed({ type: kind });
    case 'roster': {
      const roster = decodeCanonical(rosterFormat, body, 'R1');
      return roster.ok ? succeed({ type: kind, roster: roster.value }) : roster;
    }
    case 'delivery': {
      const delivery = decodeCanonical(deliveryFormat, body, 'R2');
      return delivery.ok ? succeed({ type: kind, delivery: delivery.value }) : delivery;
    }
    case 'survivors': {
      const survivors = decodeCanonical(survivorsFormat, body, 'R3');
      return survivors.ok ? succeed({ type: kind, survivors: survivors.value }) : survivors;
    }
    case 'quorum': {
      const quorum = decodeCanonical(quorumFormat, body, 'R4');
      return quorum.ok ? succeed({ type: kind, quorum: quorum.value }) : quorum;
    }
    case 'drawn': {
      const drawn = decodeCanonical(drawnFormat, body, 'R1b');
      return drawn.ok ? succeed({ type: kind, drawn: drawn.value }) : drawn;
    }
    case 'outcome': {
      const outcome = decodeCanonical(outcomeFormat, body, 'R3');
      return outcome.ok ? succeed({ type: kind, outcome: outcome.value }) : outcome;
    }
    default:
      return kind satisfies never;
  }
}

/** The frame of a stage. */
export function sealStage(identity: Identity, { roundHash, event }: Stage): Uint8Array {
  return sealSigned(identity, 'STAGE', stageFormat, { roundHash, kind: event.type, body: encodeStage(event) });
}

/** The stage of a frame under the coordinator's key: else `bad-frame` or `wrong-signature`. */
export function openStage(coordinatorKey: Uint8Array, frame: Uint8Array): Result<Stage, Violation> {
  const opened = openSigned(coordinatorKey, 'STAGE', stageFormat, frame);
  if (!opened.ok) return opened;
  const { roundHash, kind, body } = opened.value;
  const event = decodeStage(kind, body);
  return event.ok ? succeed({ roundHash, event: event.value }) : event;
}
