/**
 * A transport that holds offers back until it is told, so that rounds and exchanges over bare sockets can take turns on one machine. Only the
 * moment of sending an offer is changed; everything else passes through.
 */
import type { Peer, Transport } from '../../coordinator/transport/transport.ts';

/** A transport with a gate for offers. */
export interface HeldOffers {
  readonly transport: Transport;
  /** Resolves with the time (`performance.now`) at which `count` offers are held. */
  held(count: number): Promise<number>;
  /** Sends the offers that are held. */
  release(): void;
}

/** Wraps `inner`. */
export function holdOffers(inner: Transport): HeldOffers {
  const wrapped = new WeakMap<Peer, Peer>();
  let waiting: (() => void)[] = [];
  let onHeld = (): void => undefined;
  const wrap = (peer: Peer): Peer => {
    const known = wrapped.get(peer);
    if (known !== undefined) return known;
    const gated: Peer = {
      clientId: peer.clientId,
      send: (event, body) => {
        if (event !== 'offer') return peer.send(event, body);
        waiting.push(() => peer.send(event, body));
        onHeld();
      },
      close: () => peer.close(),
    };
    wrapped.set(peer, gated);
    return gated;
  };
  return {
    transport: {
      listen: (handlers) =>
        inner.listen({
          ...handlers,
          connected: (peer) => handlers.connected(wrap(peer)),
          disconnected: (peer) => handlers.disconnected(wrap(peer)),
        }),
      close: () => inner.close(),
    },
    held: (count) =>
      new Promise((resolve) => {
        onHeld = () => {
          if (waiting.length >= count) resolve(performance.now());
        };
        onHeld();
      }),
    release: () => {
      const offers = waiting;
      waiting = [];
      for (const send of offers) send();
    },
  };
}
