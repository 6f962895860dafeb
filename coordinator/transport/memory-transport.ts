/** A network without a network, for tests, benchmarks and simulations: connections are function calls. */
import { assert } from '../../shared/core/assert.ts';
import { releaseBytes } from '../../shared/core/bytes.ts';
import { TransportError } from '../../shared/core/errors.ts';
import type { Result } from '../../shared/core/result.ts';
import type { CallName, CoordinatorEvent } from '../../shared/protocol/messages.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import type { CallAnswer, HttpAnswer, Peer, Transport, TransportHandlers } from './transport.ts';

/** The client's end of a memory connection. */
export interface MemoryConnection {
  call(name: CallName, body: Uint8Array, attachment?: Uint8Array): Promise<CallAnswer>;
  close(): void;
}

/** A transport whose clients live in the same process. */
export interface MemoryTransport extends Transport {
  challenge(): Promise<HttpAnswer>;
  health(): Promise<HttpAnswer>;
  enrol(body: unknown): Promise<HttpAnswer>;
  withdraw(body: unknown): Promise<HttpAnswer>;
  /** Connects with what a socket would send as `auth`. `listener` hears every event, the welcome first; `onClosed` the end. */
  connect(
    auth: unknown,
    listener: (event: CoordinatorEvent, body: Uint8Array) => void,
    onClosed?: () => void,
  ): Promise<Result<MemoryConnection, Violation>>;
}

/** A transport that nobody serves yet. */
export function memoryTransport(): MemoryTransport {
  let handlers: TransportHandlers | null = null;
  /** Whom to tell when a connection ends. */
  const peers = new Map<Peer, () => void>();
  const served = (): TransportHandlers => {
    assert(handlers !== null, 'a memory transport is served before clients use it');
    return handlers;
  };
  const drop = (peer: Peer): void => {
    const onClosed = peers.get(peer);
    if (onClosed === undefined) return;
    peers.delete(peer);
    served().disconnected(peer);
    onClosed();
  };
  return {
    listen: async (given) => {
      handlers = given;
      return 'memory:';
    },
    close: async () => {
      for (const peer of new Set(peers.keys())) drop(peer);
    },
    challenge: () => served().challenge(),
    health: () => served().health(),
    enrol: (body) => served().enrol(body),
    withdraw: (body) => served().withdraw(body),
    connect: async (auth, listener, onClosed = () => undefined) => {
      const admission = await served().admit(auth);
      if (!admission.ok) return admission;
      const { clientId, welcome } = admission.value;
      const peer: Peer = {
        clientId,
        send: (event, body) => peers.has(peer) && listener(event, body),
        close: () => drop(peer),
      };
      for (const older of new Set(peers.keys())) if (older.clientId === clientId) drop(older);
      peers.set(peer, onClosed);
      peer.send('welcome', welcome);
      served().connected(peer);
      const call: MemoryConnection['call'] = async (name, body, attachment) => {
        if (!peers.has(peer)) throw new TransportError('not-connected', 'this connection is closed');
        // As from a network, every receiver gets bytes of its own.
        const lent = attachment?.slice() ?? null;
        try {
          const answer = await served().call(peer, name, body.slice(), lent);
          return answer.attachment === undefined ? answer : { ...answer, attachment: answer.attachment.slice() };
        } catch (thrown) {
          drop(peer);
          throw thrown;
        } finally {
          if (lent !== null) releaseBytes(lent);
        }
      };
      return { ok: true, value: { call, close: () => drop(peer) } };
    },
  };
}
