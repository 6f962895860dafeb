/** What the client's side of a masked round is made of: phases, events, effects, and which event is legal where. Rules: `client-machine.ts`. */
import type { ClientId, Digest } from '../core/ids.ts';
import type { Entropy } from '../core/ports.ts';
import type { Violation } from '../protocol/violations.ts';
import type { MaskSeed } from './mask.ts';
import type { JudgeCertificate, Members } from './members.ts';
import type { Advert, Delivery, Masked, Quorum, Roster, Survivors, signedKinds } from './messages.ts';
import type { Profile } from './threshold.ts';

/** Kind of a message that a client signs. */
export type SignedKind = keyof typeof signedKinds;

/** What an attempt is made with; nothing here changes. */
export interface ClientSetting {
  readonly roundHash: Digest;
  /** The stricter of the round's profile and the site's own. */
  readonly profile: Profile;
  /** The stricter of the round's bounds and the site's own. */
  readonly clientCountMin: number;
  readonly clientCountMax: number;
  readonly organisationCountMin: number;
  readonly clientId: ClientId;
  readonly certificateHash: Digest;
  /** The last checkpoint of the coordinator's log that this client saw. */
  readonly checkpoint: Advert['checkpoint'];
  readonly judgeCertificate: JudgeCertificate;
  readonly entropy: Entropy;
  /** What M1 says of a nonce, where the round has groups (`grouped-client.ts`). */
  readonly draw?: Digest;
}

/**
 * The secrets of one attempt, 32 bytes each. They are in memory only, belong to one machine, and are zeroed when the attempt is over: a
 * client that crashes has vanished.
 */
export interface ClientSecrets {
  /** c, for boxes of shares. */
  readonly box: Uint8Array;
  /** s, for pairwise masks. */
  readonly mask: Uint8Array;
  /** b, for the self mask. */
  readonly self: Uint8Array;
}

/** The shares that this client holds of one dealer; null where what came was none. */
export type HeldShares = { readonly mask: Uint8Array; readonly self: Uint8Array } | null;

interface Advertised {
  readonly secrets: ClientSecrets;
  readonly advert: Uint8Array;
  readonly signature: Uint8Array;
}

interface Shared {
  readonly secrets: ClientSecrets;
  readonly members: Members;
  readonly place: number;
  /** The shares of its own secrets that a dealer keeps. */
  readonly own: NonNullable<HeldShares>;
}

interface Dealt extends Omit<Shared, 'own'> {
  /** U2, ascending. */
  readonly dealers: readonly number[];
  readonly dealersHash: Digest;
  /** By dealer, the own shares among them. */
  readonly held: ReadonlyMap<number, HeldShares>;
}

interface Agreed extends Dealt {
  /** U3, ascending. */
  readonly survivors: readonly number[];
  readonly survivorsHash: Digest;
}

/** A phase that waits for the coordinator. */
export type WaitingPhase =
  | ({ readonly name: 'advertised' } & Advertised)
  | ({ readonly name: 'shared' } & Shared)
  | ({ readonly name: 'masked' } & Dealt)
  | ({ readonly name: 'agreed' } & Agreed)
  | { readonly name: 'unmasked' };

/** Where an attempt stands; every phase holds only its own fields. */
export type ClientPhase =
  | WaitingPhase
  /** Waits for the signature of `body`, sends it, and goes on with `next`. */
  | { readonly name: 'signing'; readonly kind: SignedKind; readonly body: Uint8Array; readonly next: WaitingPhase }
  | ({ readonly name: 'masking' } & Dealt)
  | ({ readonly name: 'journaling' } & Agreed)
  | { readonly name: 'finished' }
  | { readonly name: 'aborted'; readonly reason: Violation };

/** A whole attempt. */
export interface ClientState {
  readonly setting: ClientSetting;
  readonly phase: ClientPhase;
}

/** What happens to an attempt. */
export type ClientEvent =
  | { readonly type: 'signed'; readonly signature: Uint8Array }
  | { readonly type: 'roster'; readonly roster: Roster }
  | { readonly type: 'delivery'; readonly delivery: Delivery }
  /** The vector is masked; what follows in chunks. */
  | ({ readonly type: 'vector-masked' } & Pick<Masked, 'vecRoot' | 'chunkDigests'>)
  | { readonly type: 'survivors'; readonly survivors: Survivors }
  | { readonly type: 'quorum'; readonly quorum: Quorum }
  /** Whether this is the first unmasking for this round number that the journal knows. */
  | { readonly type: 'journaled'; readonly isFirst: boolean }
  | { readonly type: 'result' }
  | { readonly type: 'abandon'; readonly reason: Violation };

/** A mask for the own vector; the seed belongs to whoever gets the effect, who wipes it after use. */
export interface MaskToApply {
  readonly seed: MaskSeed;
  readonly sign: 1 | -1;
}

/** What the driver must do. */
export type ClientEffect =
  | { readonly type: 'sign'; readonly kind: SignedKind; readonly body: Uint8Array }
  | { readonly type: 'send'; readonly kind: SignedKind; readonly body: Uint8Array; readonly signature: Uint8Array }
  | { readonly type: 'mask-vector'; readonly masks: readonly MaskToApply[] }
  /** Make durable that this round number is unmasked with these survivors, before anything is sent. */
  | { readonly type: 'journal'; readonly survivorsHash: Digest }
  | { readonly type: 'report'; readonly reason: Violation }
  | { readonly type: 'aborted'; readonly reason: Violation };

/** The next state and what to do, in order. */
export interface ClientStep {
  readonly state: ClientState;
  readonly effects: readonly ClientEffect[];
}

/** Legal pairs of phase and event; what is not listed here is a violation. */
export const legalClientEvents: Readonly<Record<ClientPhase['name'], readonly ClientEvent['type'][]>> = {
  signing: ['signed', 'abandon'],
  advertised: ['roster', 'abandon'],
  shared: ['delivery', 'abandon'],
  masking: ['vector-masked', 'abandon'],
  masked: ['survivors', 'abandon'],
  agreed: ['quorum', 'abandon'],
  journaling: ['journaled', 'abandon'],
  unmasked: ['result', 'abandon'],
  finished: [],
  aborted: [],
};
