/**
 * The coordinator's network as a port: `socket-server.ts` is the real one, tests and simulations use `memory-transport.ts`. A transport
 * carries bytes and knows who is connected; what bytes mean is decided behind {@link TransportHandlers}.
 */
import type { ClientId } from '../../shared/core/ids.ts';
import type { Result } from '../../shared/core/result.ts';
import type { CallName, CoordinatorEvent } from '../../shared/protocol/messages.ts';
import type { Violation } from '../../shared/protocol/violations.ts';

/** One admitted connection. A client has at most one: a newer one replaces the older. */
export interface Peer {
  readonly clientId: ClientId;
  /** Sends one message; a lost connection loses it silently, and `disconnected` follows. */
  send(event: CoordinatorEvent, body: Uint8Array): void;
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

/** What a transport asks of the coordinator. None of these throws for something that a peer did. */
export interface TransportHandlers {
  challenge(): Promise<HttpAnswer>;
  enrol(body: unknown): Promise<HttpAnswer>;
  withdraw(body: unknown): Promise<HttpAnswer>;
  health(): Promise<HttpAnswer>;
  /** Judges what a connection says about itself; `welcome` is the first message that it is sent. */
  admit(auth: unknown): Promise<Result<{ readonly clientId: ClientId; readonly welcome: Uint8Array }, Violation>>;
  connected(peer: Peer): void;
  disconnected(peer: Peer): void;
  /** A connection broke the rules of the transport itself; it is ended. */
  misused(peer: Peer, found: Violation): void;
  /** `attachment` is lent until the promise settles. */
  call(peer: Peer, name: CallName, body: Uint8Array, attachment: Uint8Array | null): Promise<CallAnswer>;
}

/** A network that can be served. */
export interface Transport {
  /** Starts to serve; resolves with the address that clients use. @throws TransportError when it cannot. */
  listen(handlers: TransportHandlers): Promise<string>;
  /** Ends all connections and stops. */
  close(): Promise<void>;
}
