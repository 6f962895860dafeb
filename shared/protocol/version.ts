/** Versions that peers compare before anything else. */

/** Version of messages, canonical bytes and signatures. Peers of different versions refuse each other with `protocol-version`. */
export const protocolVersion = 1;
/** socket.io namespace of clients; the handshake's signature binds it. */
export const socketNamespace = '/';
