import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { download } from '../../../../shared/data/catalogue/download.node.ts';
import { type PublishedServer, startPublishedServer } from './published-server.ts';

describe('download', () => {
  let server: PublishedServer;
  let folder = '';
  beforeEach(async () => {
    server = await startPublishedServer();
    folder = mkdtempSync(join(tmpdir(), 'tributary-download-'));
    server.files.set('/file', content);
  });
  afterEach(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const content = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 7) % 251);
  const fetchFile = (options: { path?: string; signal?: AbortSignal; bytesMax?: number } = {}) =>
    download({
      url: `${server.origin}${options.path ?? '/file'}`,
      path: target(),
      bytesMax: options.bytesMax ?? 1_000_000,
      signal: options.signal ?? new AbortController().signal,
      retryDelayMs: 0,
      onProgress: (done) => server.dropAt(done),
    });
  const target = (): string => join(folder, 'deep', 'file');
  const ranges = () => server.requests.map(({ range, status }) => [range, status]);

  it('[DWN-1] goes on where the connection broke off, as often as something arrives', async () => {
    server.breaks.push(30_000, 20_000, 1, 1, 1, 1, 10_000);
    await fetchFile();
    assert.deepEqual(new Uint8Array(readFileSync(target())), content);
    assert.equal(server.requests.length, 8);
    assert.deepEqual(ranges()[1], ['bytes=30000-', 206]);
    assert.ok(!existsSync(`${target()}.part`) && !existsSync(`${target()}.part.etag`));
  });

  it('[DWN-2] goes on from what an earlier process left, but begins anew when the file is another one by now', async () => {
    server.breaks.push(30_000, 0, 0, 0, 0);
    await assert.rejects(fetchFile(), /30000 bytes are kept, run the command again to go on/);
    server.requests.length = 0;
    server.breaks.length = 0;
    await fetchFile();
    assert.deepEqual(ranges(), [['bytes=30000-', 206]]);

    const other = content.map((byte) => byte ^ 1);
    server.breaks.push(30_000, 0, 0, 0, 0);
    await assert.rejects(fetchFile(), { code: 'download-failed' });
    server.breaks.length = 0;
    server.files.set('/file', other);
    await fetchFile();
    assert.deepEqual(new Uint8Array(readFileSync(target())), other);
  });

  it('[DWN-3] without a tag of the server nothing is continued', async () => {
    server.hasTags = false;
    server.breaks.push(30_000);
    await fetchFile();
    assert.deepEqual(ranges(), [
      [undefined, 200],
      [undefined, 200],
    ]);
    assert.deepEqual(new Uint8Array(readFileSync(target())), content);
  });

  it('[DWN-4] tries again when the server is busy, gives up at once when it refuses', async () => {
    server.refusals.push(503, 429);
    await fetchFile();
    assert.deepEqual(
      ranges().map(([, status]) => status),
      [503, 429, 200],
    );
    await assert.rejects(fetchFile({ path: '/none' }), /cannot fetch .*\/none: the server answers 404/);
    assert.equal(server.requests.length, 4);
    server.refusals.push(500, 500, 500, 500);
    await assert.rejects(fetchFile(), /the server answers 500/);
  });

  it('[DWN-5] refuses a file that is larger than any that is known', async () => {
    await assert.rejects(fetchFile({ bytesMax: 99_999 }), /expected at most 99999 bytes, found more/);
    await fetchFile({ bytesMax: 100_000 });
  });

  it('[DWN-6] stops when it is told to', async () => {
    const reason = new Error('enough');
    await assert.rejects(fetchFile({ signal: AbortSignal.abort(reason) }), reason);
  });

  it('[DWN-7] a part that is no beginning of the file is thrown away', async () => {
    await fetchFile();
    rmSync(target());
    writeFileSync(`${target()}.part`, 'something else');
    writeFileSync(`${target()}.part.etag`, '"another"');
    await fetchFile();
    assert.deepEqual(new Uint8Array(readFileSync(target())), content);
  });
});
