/**
 * Counts application bytes between a coordinator and its clients: bodies and attachments of calls, their answers, and events. What sockets
 * and HTTP add (frames, headers, pings, the handshake's JSON) is not counted.
 */
import type { Peer, TransportHandlers } from './transport.ts';

/** Bytes since the coordinator was started. */
export interface Traffic {
  /** From clients. */
  readonly bytesUp: number;
  /** To clients. */
  readonly bytesDown: number;
}

/** `handlers` with every byte counted; `traffic` says how many there were. */
export function countTraffic(handlers: TransportHandlers): {
  readonly handlers: TransportHandlers;
  readonly traffic: () => Traffic;
} {
  let bytesUp = 0;
  let bytesDown = 0;
  return {
    traffic: () => ({ bytesUp, bytesDown }),
    handlers: {
      ...handlers,
      admit: async (auth) => {
        const admission = await handlers.admit(auth);
        if (admission.ok) bytesDown += admission.value.welcome.length;
        return admission;
      },
      connected: (peer) => {
        const counted: Peer = {
          ...peer,
          send: (event, body) => {
            bytesDown += body.length;
            peer.send(event, body);
          },
        };
        handlers.connected(counted);
      },
      call: async (peer, name, body, attachment) => {
        bytesUp += body.length + (attachment?.length ?? 0);
        const answer = await handlers.call(peer, name, body, attachment);
        bytesDown += answer.body.length + (answer.attachment?.length ?? 0);
        return answer;
      },
    },
  };
}
