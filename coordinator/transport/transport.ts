/**
 * The coordinator's network as a port: `socket-server.ts` is the real one, tests and simulations use `memory-transport.ts`. A transport
 * carries bytes and knows who is connected; what bytes mean is decided behind {@link TransportHandlers}.
 */
import type { ClientId } from '../../shared/core/ids.ts';
import type { Result } from '../../shared/core/result.ts';

/** Calls that an admitted client may make; anything else is not even listened to. */
export const callNames = [
  'fetch-manifest',
  'fetch-chunk',
  'accept',
  'decline',
  'progress',
  'update',
  'upload-chunk',
  'commit',
  'evaluation',
] as const;
/** Name of a call. */
export type CallName = (typeof callNames)[number];

/** Name of an event that the coordinator sends. */
export type OutgoingEvent = 'welcome' | 'offer' | 'evaluate' | 'result' | 'finished';

/** One admitted connection. A client has at most one: a newer one replaces the older. */
export interface Peer {
  readonly clientId: ClientId;
  /** Sends one message; a lost connection loses it silently, and `disconnected` follows. */
  send(event: OutgoingEvent, body: Uint8Array): void;
  /** Ends the connection. */
  close(): void;
}

/** Answer to a call: encoded bytes, and raw bytes for chunks. */
export interface CallAnswer {
  readonly body: Uint8Array;
  readonly attachment?: Uint8Array;
}

/** An answer over HTTP. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Why a connection or call is refused, as it travels to the client. */
export interface Refusal {
  readonly code: string;
  readonly detail: string;
}

/** What a transport asks of the coordinator. None of these throws for something that a peer did. */
export interface TransportHandlers {
  challenge(): Promise<HttpAnswer>;
  enrol(body: unknown): Promise<HttpAnswer>;
  health(): Promise<HttpAnswer>;
  /** Judges what a connection says about itself; `welcome` is the first message that it is sent. */
  admit(auth: unknown): Promise<Result<{ readonly clientId: ClientId; readonly welcome: Uint8Array }, Refusal>>;
  connected(peer: Peer): void;
  disconnected(peer: Peer): void;
  call(peer: Peer, name: CallName, body: Uint8Array, attachment: Uint8Array | null): Promise<CallAnswer>;
}

/** A network that can be served. */
export interface Transport {
  /** Starts to serve; resolves with the address that clients use. @throws TransportError when it cannot. */
  listen(handlers: TransportHandlers): Promise<string>;
  /** Ends all connections and stops. */
  close(): Promise<void>;
}
