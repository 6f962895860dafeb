import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keepOnDisk, readSite } from '../../../client/commands/site-records.ts';
import type { RecordFeed } from '../../../client/record-feed.ts';

describe('records of a site', () => {
  let folder = '';
  let path = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-site-'));
    path = join(folder, 'rows.jsonl');
    const rows = Array.from({ length: 200 }, (_, index) => JSON.stringify({ text: `row ${index % 150}`, label: 'a' }));
    writeFileSync(path, rows.join('\n'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const textsOf = async (feed: RecordFeed): Promise<string[]> => {
    const texts: string[] = [];
    for await (const { value } of feed.views()) texts.push(String(value.text));
    assert.equal(texts.length, feed.count);
    return texts;
  };
  const read = (memoryRows: number, changes: object = {}) =>
    readSite({ train: path, columns: {}, memoryRows, ...changes });

  it('[SRC-1] are split alike in memory and row by row, and equal texts never stand on both sides', async () => {
    const [kept, streamed] = [await read(1000), await read(10)];
    const train = await textsOf(kept.train);
    const heldOut = await textsOf(kept.heldOut);
    assert.deepEqual(await textsOf(streamed.train), train);
    assert.deepEqual(await textsOf(streamed.heldOut), heldOut);
    assert.deepEqual(await textsOf(streamed.train), train, 'a second time too');
    assert.equal(train.length + heldOut.length, 200);
    assert.ok(heldOut.length > 5 && heldOut.length < 50);
    assert.ok(!heldOut.some((text) => train.includes(text)));
  });

  it('[SRC-2] of two files are taken as they are; a share beside them is refused', async () => {
    const { train, heldOut } = await read(10, { heldOut: path });
    assert.deepEqual([train.count, heldOut.count], [200, 200]);
    assert.deepEqual((await textsOf(heldOut)).length, 200);
    await assert.rejects(
      read(10, { heldOut: path, heldOutFraction: 0.2 }),
      /one of --held-out and --held-out-fraction/,
    );
    assert.equal((await read(1000, { heldOutFraction: 0 })).heldOut.count, 0);
  });

  it('[SRC-9] of which none is left to train on are refused before anything is sent', async () => {
    const empty = join(folder, 'empty.jsonl');
    writeFileSync(empty, '');
    for (const memoryRows of [0, 10])
      await assert.rejects(read(memoryRows, { train: empty }), {
        code: 'no-rows',
        message: /leaves no row to train on;/,
      });
  });

  it('[SRC-3] examples are kept and given back', async () => {
    async function* examples() {
      for (const id of [3, 4, 5]) yield { ids: Int32Array.of(id, id), targets: Int32Array.of(1) };
    }
    const { source, close } = await keepOnDisk(examples(), 10);
    assert.equal(source.count, 3);
    assert.deepEqual([...(await source.read([2]))[0]!.ids], [5, 5]);
    await close();
  });
});
