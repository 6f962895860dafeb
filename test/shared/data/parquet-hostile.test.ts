/** Parquet files that lie about themselves: each ends at once with an error that says what is wrong, whatever their bytes claim. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { countRuns, readDeltas } from '../../../shared/data/parquet-runs.ts';
import { readThrift } from '../../../shared/data/parquet-thrift.ts';
import { readRecords } from '../../../shared/data/records.node.ts';
import { mutatedFile, recordFiles } from '../../simulation/record-files.ts';

describe('Parquet files that lie', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-lying-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const refused = async (content: Uint8Array, message: RegExp): Promise<void> => {
    const path = join(folder, 'a.parquet');
    writeFileSync(path, content);
    const reading = async (): Promise<void> => {
      for await (const _ of readRecords(path));
    };
    await assert.rejects(reading, { name: 'FormatError', code: 'bad-parquet', message });
  };
  /** A file of one text column, uncompressed, with other bytes from the first `found` on. */
  const changed = (found: readonly number[], put: readonly number[]): Uint8Array => {
    const bytes = Buffer.from(
      parquetWriteBuffer({
        columnData: [{ name: 'text', data: ['a', 'a', null, 'a'], type: 'STRING' }],
        codec: 'UNCOMPRESSED',
      }),
    );
    const at = bytes.indexOf(Uint8Array.from(found));
    assert.ok(at > 0 && found.length === put.length, bytes.toString('hex'));
    bytes.set(put, at);
    return bytes;
  };

  it('[PQH-1] a page without its size, found by fuzzing with seed 7, does not begin again for ever', async () => {
    const file = recordFiles().find(({ name }) => name === 'parquet')!;
    const bytes = mutatedFile(file, 7, 32);
    assert.equal(digestOf(bytes), '0f7e3e92a00166e4b4d4875b8c090a73aa779be72146b2a49afbff61c30b911d');
    await refused(bytes, /expected the stored bytes of a page to be a number from 0 to \d+, found none/);
  });

  it('[PQH-2] counts of pages, levels, dictionaries and rows that do not fit are refused', async () => {
    await refused(changed([0x03, 0x0b, 0x00], [0xfe, 0x01, 0x00]), /repeats a value 127 times where 4 are left/);
    await refused(changed([0x0b, 0x00, 0x03], [0x0b, 0x00, 0x07]), /repeats a value 24 times where 3 are left/);
    await refused(changed([0x4c, 0x15, 0x02], [0x4c, 0x15, 0x40]), /the entries of a dictionary .* found 32/);
    await refused(changed([0x5c, 0x15, 0x08], [0x5c, 0x15, 0x0a]), /a page says that it has 4 rows and has 5/);
    await refused(changed([0x5c, 0x15, 0x08], [0x5c, 0x15, 0x07]), /the values of a page .* found -4/);
    await refused(changed([0x16, 0x08, 0x36], [0x16, 0x0a, 0x36]), /expected 5 rows in a column, found 4/);
    await refused(changed([0x16, 0x08, 0x36], [0x16, 0x07, 0x36]), /the rows of a row group .* found -4/);
  });

  it('[PQH-3] headers that claim lists, numbers and levels beyond their bytes are refused before anything is set aside', () => {
    // Lists of lists, each with 2^28 elements: a decoder that believes the first sets aside two gigabytes.
    const list = [0xf9, 0xff, 0xff, 0xff, 0x7f];
    assert.throws(
      () => readThrift(Uint8Array.from([0x19, ...list, ...list, 0]), 0),
      /a list in a header expects 268435455/,
    );
    assert.throws(() => readThrift(Uint8Array.from([0x16, ...Array<number>(99).fill(0x80)]), 0), /more than 10 bytes/);
    assert.throws(() => readThrift(Uint8Array.from([0x18, 9, 1]), 0), /expects 9 bytes where 1 are left/);
    assert.throws(() => readThrift(Uint8Array.from(Array<number>(99).fill(0x1c)), 0), /more than 32 levels/);
    assert.throws(() => readThrift(Uint8Array.from([0x1b, 0]), 0), /unknown kind 11/);
    const { fields, end } = readThrift(Uint8Array.from([0x15, 0x07, 0x11, 0x18, 1, 65, 0x19, 0x25, 2, 4, 0, 99]), 0);
    assert.deepEqual([...fields.values()], [-4, true, Uint8Array.of(65), [1, 2]]);
    assert.equal(end, 11);
  });

  it('[PQH-4] runs and differences are read as far as their bytes go, and no further', () => {
    // Three ones, then eight packed values of which five count: 1, 0, 1, 1, 0.
    const runs = Uint8Array.from([6, 1, 3, 0b10110101]);
    assert.equal(countRuns(runs, { offset: 0, width: 1, count: 8, target: 1 }), 6);
    assert.throws(() => countRuns(Uint8Array.of(3), { offset: 0, width: 1, count: 8, target: 1 }), /beyond the end/);
    assert.throws(
      () => countRuns(Uint8Array.of(255, 255, 255, 255, 15), { offset: 0, width: 0, count: 8, target: 1 }),
      /repeats/,
    );
    // One block of 8 in one part: 5, then steps of -1 + 0 or 1.
    const deltas = Uint8Array.from([8, 1, 4, 10, 1, 1, 0b00000110]);
    assert.deepEqual(readDeltas(deltas, 0, 4), { values: Int32Array.of(5, 4, 4, 4), end: 7 });
    for (const [size, parts] of [
      [8, 0],
      [0, 1],
      [12, 1],
      [8, 0x7f],
    ] as const)
      assert.throws(() => readDeltas(Uint8Array.from([size, parts, 4, 10, 1, 1, 6]), 0, 4), /expected blocks/);
    // A negative number of parts, which would lead back to the beginning of the block.
    assert.throws(() => readDeltas(Uint8Array.from([8, 255, 255, 255, 255, 15, 4, 10, 1]), 0, 4), /expected blocks/);
  });
});
