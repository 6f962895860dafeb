import { strict as assert } from 'node:assert';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
import { createBudget } from '../../../coordinator/transport/budget.ts';
import { serveBlobs } from '../../../coordinator/transport/served-blobs.ts';
import { countTraffic } from '../../../coordinator/transport/traffic.ts';
import type { Peer, TransportHandlers } from '../../../coordinator/transport/transport.ts';
import type { ClientId } from '../../../shared/core/ids.ts';
import { chunkBytesMax } from '../../../shared/core/limits.ts';
import { refuse, succeed } from '../../../shared/core/result.ts';
import { violation } from '../../../shared/protocol/violations.ts';

const clientId = 'a'.repeat(64) as ClientId;
const bytes = (count: number): Uint8Array => new Uint8Array(count);

describe('traffic', () => {
  it('[TRF-1] counts bodies and attachments of calls, answers and events, and changes none of them', async () => {
    const sent: number[] = [];
    let joined: Peer | null = null;
    const { handlers, traffic } = countTraffic({
      admit: async (auth) =>
        auth === 'good' ? succeed({ clientId, welcome: bytes(7) }) : refuse(violation('unknown-client', 'no')),
      connected: (peer) => {
        joined = peer;
      },
      call: async (_peer, _name, body, attachment) =>
        attachment === null ? { body } : { body: bytes(3), attachment: bytes(500) },
    } as Partial<TransportHandlers> as TransportHandlers);
    const peer: Peer = { clientId, send: (_, body) => void sent.push(body.length), close: () => undefined };
    assert.deepEqual(traffic(), { bytesUp: 0, bytesDown: 0 });
    await handlers.admit('bad');
    await handlers.admit('good');
    handlers.connected(peer);
    joined!.send('offer', bytes(11));
    assert.deepEqual(sent, [11]);
    assert.deepEqual(traffic(), { bytesUp: 0, bytesDown: 18 });
    assert.equal((await handlers.call(peer, 'commit', bytes(20), null)).body.length, 20);
    await handlers.call(peer, 'upload-chunk', bytes(5), bytes(1000));
    assert.deepEqual(traffic(), { bytesUp: 1025, bytesDown: 541 });
  });
});

describe('budget', () => {
  it('[BDG-1] gives its burst at once, then what time brings, never more than the burst', () => {
    const budget = createBudget({ perSecond: 10, burst: 3, nowMs: 0 });
    const taken = (nowMs: number, tries: number): number =>
      Array.from({ length: tries }, () => budget.take(nowMs)).filter(Boolean).length;
    assert.equal(taken(0, 5), 3);
    assert.equal(taken(99, 1), 0);
    assert.equal(taken(100, 2), 1);
    assert.equal(taken(1_000_000, 9), 3);
    assert.equal(taken(500_000, 2), 0, 'a clock that goes back brings nothing');
  });
});

describe('served blobs', () => {
  it('[TFS-1] gives the chunks of what was announced, and nothing else of the store', async () => {
    const blobs = createMemoryBlobs();
    const served = serveBlobs(blobs);
    const content = Uint8Array.from({ length: chunkBytesMax + 9 }, (_, index) => index % 251);
    const { digest, size } = await served.announce(content);
    assert.equal(size, content.length);
    assert.equal(served.manifest(digest)?.chunkDigests.length, 2);
    assert.deepEqual(await served.chunk(digest, 0), content.slice(0, chunkBytesMax));
    assert.deepEqual(await served.chunk(digest, 1), content.slice(chunkBytesMax));
    for (const index of [2, -1, 0.5, Number.NaN]) assert.equal(await served.chunk(digest, index), null);
    const secret = await blobs.put(Uint8Array.of(1));
    assert.equal(served.manifest(secret), null);
    assert.equal(await served.chunk(secret, 0), null);
  });
});
