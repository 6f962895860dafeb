/**
 * The floor under a round: the bytes of an adapter to every client and the bytes of a delta back, in chunks of the protocol's size with as
 * many in flight, each acknowledged, over socket.io as it comes. No signatures, hashes, disk or aggregation.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Socket as ServerSocket } from 'socket.io';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { chunkBytesMax, chunksInFlightMax, messageBytesMax } from '../../shared/core/limits.ts';
import { chunkCountOf } from '../../shared/protocol/vector.ts';

/** The serving side of the floor. */
export interface BareServer {
  readonly url: string;
  /** Resolves when all clients are connected. */
  readonly complete: Promise<void>;
  /** Sends `size` bytes to every client and takes as many from each: milliseconds until everything is acknowledged. */
  exchange(): Promise<number>;
  close(): Promise<void>;
}

/** Sends every chunk of `bytes`, waiting for acknowledgements as the protocol's window says. */
async function sendChunks(bytes: Uint8Array, send: (chunk: Uint8Array) => Promise<unknown>): Promise<void> {
  const count = chunkCountOf(bytes.length);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const start = next++ * chunkBytesMax;
      await send(bytes.subarray(start, start + chunkBytesMax));
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, chunksInFlightMax) }, lane));
}

/** Serves `clientCount` clients, `size` bytes each way. */
export async function openBareServer(options: {
  readonly clientCount: number;
  readonly size: number;
}): Promise<BareServer> {
  const { clientCount, size } = options;
  const http = createServer();
  const server = new Server(http, {
    transports: ['websocket'],
    perMessageDeflate: false,
    maxHttpBufferSize: messageBytesMax,
    serveClient: false,
  });
  const sockets: ServerSocket[] = [];
  const complete = Promise.withResolvers<void>();
  let whenReturned = (): void => undefined;
  server.on('connection', (socket) => {
    let received = 0;
    socket.on('up', (chunk: Uint8Array, acknowledge: () => void) => {
      acknowledge();
      received += chunk.length;
      if (received < size) return;
      received = 0;
      whenReturned();
    });
    sockets.push(socket);
    if (sockets.length === clientCount) complete.resolve();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const bytes = new Uint8Array(size).fill(1);
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    complete: complete.promise,
    exchange: async () => {
      let missing = clientCount;
      const returned = new Promise<void>((resolve) => {
        whenReturned = () => {
          missing -= 1;
          if (missing === 0) resolve();
        };
      });
      const startMs = performance.now();
      await Promise.all(sockets.map((socket) => sendChunks(bytes, (chunk) => socket.emitWithAck('down', chunk))));
      await returned;
      return performance.now() - startMs;
    },
    close: async () => {
      await server.close();
    },
  };
}

/** The client's side: takes `size` bytes and then sends as many, again and again. The returned function disconnects. */
export function joinBareServer(url: string, size: number): () => void {
  const socket = io(url, { transports: ['websocket'], forceNew: true });
  const bytes = new Uint8Array(size).fill(2);
  let received = 0;
  socket.on('down', (chunk: Uint8Array, acknowledge: () => void) => {
    acknowledge();
    received += chunk.length;
    if (received < size) return;
    received = 0;
    void sendChunks(bytes, (part) => socket.emitWithAck('up', part));
  });
  return () => void socket.disconnect();
}
