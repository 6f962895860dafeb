/** Beginnings of requests that are never finished: in their headers, in their body, and a WebSocket over which nobody says who he is. */

/** What such a connection sends first, and last. */
export const idleBeginnings: readonly string[] = [
  'GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: ',
  'POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{',
  [
    'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1',
    'Host: x',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    '\r\n',
  ].join('\r\n'),
];
