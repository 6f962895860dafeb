/**
 * The WebSocket of a client on Node, with the zero mask. RFC 6455 (section 5.3) has clients mask what they send with an unpredictable key, so
 * that a script in a browser, which its user does not trust, cannot choose the bytes that an intermediary sees. This client is its owner's own
 * program and sends no bytes that somebody else chose; masking would cost a copy and two passes over every update, one on each side. Frames
 * are marked as masked, as servers demand. Browsers mask by themselves, whatever a page wants (decision 6).
 */
import { NodeWebSocket } from 'socket.io-client';

/** As socket.io's own, with the zero mask. */
export class ZeroMaskWebSocket extends NodeWebSocket {
  override createSocket(
    uri: string,
    protocols: string | string[] | undefined,
    options: Readonly<Record<string, unknown>>,
  ): unknown {
    const generateMask = (mask: Uint8Array): void => void mask.fill(0);
    return super.createSocket(uri, protocols, { ...options, generateMask });
  }
}
