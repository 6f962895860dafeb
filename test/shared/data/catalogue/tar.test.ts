import { strict as assert } from 'node:assert';
import { tarFiles } from '../../../../shared/data/catalogue/tar.ts';
import { tarArchive } from './tar-archive.ts';

describe('tarFiles', () => {
  const long = `root/${'folder/'.repeat(16)}file.xml`;
  const files = { 'root/a.xml': '', 'root/b/ü.xml': 'größe\n'.repeat(200), [long]: 'long', 'root/c.xml': 'c' };

  it('[TAR-1] reads regular files with paths of every form', () => {
    for (const longNames of ['prefix', 'pax', 'gnu'] as const) {
      const found = [...tarFiles(tarArchive(files, longNames))].map(({ path, bytes }) => [
        path,
        Buffer.from(bytes).toString(),
      ]);
      assert.deepEqual(found, Object.entries(files), longNames);
    }
  });

  it('[TAR-2] refuses an archive that is damaged or cut', () => {
    const archive = tarArchive(files);
    const read = (bytes: Uint8Array) => [...tarFiles(bytes)].length;
    const damaged = archive.slice();
    damaged[3] = 1;
    assert.throws(() => read(damaged), { code: 'bad-archive' });
    for (const length of [archive.length - 1024, 2000, 700, 0]) {
      assert.throws(() => read(archive.subarray(0, length)), { code: 'bad-archive' }, `${length}`);
    }
  });
});
