/** What the coordinator's side of a masked round is made of: phases, events, effects, and which event is legal where. Rules: `server-machine.ts`. */
import type { ClientId, Digest } from '../core/ids.ts';
import type { Violation } from '../protocol/violations.ts';
import type { JudgeCertificate, Members } from './members.ts';
import type { Delivery, Quorum, Roster, ShareKind, Shares, Survivors } from './messages.ts';
import type { Profile } from './threshold.ts';

/** What an attempt is made with; nothing here changes. */
export interface ServerSetting {
  readonly roundHash: Digest;
  readonly profile: Profile;
  readonly clientCountMin: number;
  readonly clientCountMax: number;
  readonly organisationCountMin: number;
  readonly judgeCertificate: JudgeCertificate;
  /** Clients that trained and are ready; nobody else is heard. */
  readonly invited: readonly ClientId[];
  /** Bytes of a masked vector, tail included. */
  readonly vectorBytes: number;
  /** Whether the roster is to be divided into groups (`grouped-server.ts`). */
  readonly isDivided?: boolean;
}

/** A message with the signature over its canonical bytes, as evidence of what its sender said. */
export interface SignedBody {
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

/** M1 with what the roster shows beside it. */
export interface ReceivedAdvert extends SignedBody {
  readonly publicKey: Uint8Array;
  readonly certificate: Uint8Array;
}

interface Sharing {
  readonly roster: Roster;
  readonly members: Members;
}

interface Collecting extends Sharing {
  /** M2 by place; the dealers are its keys. */
  readonly shares: ReadonlyMap<number, Shares>;
  readonly dealersHash: Digest;
}

interface Agreeing extends Collecting {
  /** U3, ascending. */
  readonly survivors: readonly number[];
  readonly survivorsHash: Digest;
}

/** An opened secret and whose it is. */
export interface OpenedSecret {
  readonly place: number;
  readonly secret: Uint8Array;
}

/** Where an attempt stands; every phase holds only its own fields. Maps are copied, never changed in place. */
export type ServerPhase =
  | { readonly name: 'advertising'; readonly adverts: ReadonlyMap<ClientId, ReceivedAdvert> }
  | ({ readonly name: 'sharing'; readonly shares: ReadonlyMap<number, Shares> } & Sharing)
  | ({ readonly name: 'collecting'; readonly stored: ReadonlyMap<number, Digest> } & Collecting)
  | ({ readonly name: 'agreeing'; readonly consents: ReadonlyMap<number, Uint8Array> } & Agreeing)
  | ({ readonly name: 'unmasking'; readonly answers: ReadonlyMap<number, ReadonlyMap<number, Uint8Array>> } & Agreeing)
  | ({ readonly name: 'opened' } & Agreeing)
  | { readonly name: 'aborted'; readonly reason: Violation };

/** A whole attempt. */
export interface ServerState {
  readonly setting: ServerSetting;
  readonly phase: ServerPhase;
}

/** What happens to an attempt. Replaying the events that were made durable gives the same state. */
export type ServerEvent =
  | ({ readonly type: 'advert'; readonly clientId: ClientId } & ReceivedAdvert)
  | ({ readonly type: 'shares' | 'agree' | 'unmask'; readonly clientId: ClientId } & SignedBody)
  /** M3, once the whole vector is durable. */
  | ({ readonly type: 'masked'; readonly clientId: ClientId } & SignedBody)
  | { readonly type: 'deadline' }
  | { readonly type: 'abandon'; readonly reason: Violation };

/** What the driver must do, in order. */
export type ServerEffect =
  | { readonly type: 'reject'; readonly clientId: ClientId; readonly reason: Violation }
  /** Make this message durable before anything that follows. */
  | { readonly type: 'persist'; readonly event: ServerEvent }
  /** To every member. */
  | { readonly type: 'send-roster'; readonly roster: Roster; readonly clients: readonly ClientId[] }
  | { readonly type: 'send-delivery'; readonly clientId: ClientId; readonly delivery: Delivery }
  | { readonly type: 'send-survivors'; readonly survivors: Survivors; readonly clients: readonly ClientId[] }
  | { readonly type: 'send-quorum'; readonly quorum: Quorum; readonly clients: readonly ClientId[] }
  /** A client broke the protocol in a way that its own signatures prove: it takes no part in the next attempt. */
  | { readonly type: 'eject'; readonly clientId: ClientId; readonly reason: Violation }
  /** The masks to take off the sum of the survivors' vectors; the secrets belong to whoever gets the effect. */
  | { readonly type: 'open-sum'; readonly opening: Opening }
  | { readonly type: 'aborted'; readonly reason: Violation };

/** Everything that takes the masks off a sum. */
export interface Opening {
  readonly members: Members;
  /** Self secrets b of the survivors. */
  readonly survivors: readonly OpenedSecret[];
  /** Mask secrets s of the dealers whose vectors are not in the sum. */
  readonly vanished: readonly OpenedSecret[];
}

/** The next state and what to do, in order. */
export interface ServerStep {
  readonly state: ServerState;
  readonly effects: readonly ServerEffect[];
}

/** Legal pairs of phase and event; what is not listed here is a violation. */
export const legalServerEvents: Readonly<Record<ServerPhase['name'], readonly ServerEvent['type'][]>> = {
  advertising: ['advert', 'deadline', 'abandon'],
  sharing: ['shares', 'deadline', 'abandon'],
  collecting: ['masked', 'deadline', 'abandon'],
  agreeing: ['agree', 'deadline', 'abandon'],
  unmasking: ['unmask', 'deadline', 'abandon'],
  // Shares that nobody needs any more.
  opened: ['unmask'],
  aborted: [],
};

/** Kind of share that opens a dealer: of a survivor its self secret, of any other its mask secret. */
export function shareKindOf(dealer: number, survivors: readonly number[]): ShareKind {
  return survivors.includes(dealer) ? 'self' : 'mask';
}
