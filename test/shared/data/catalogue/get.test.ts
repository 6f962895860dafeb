import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { catalogue } from '../../../../shared/data/catalogue/catalogue.ts';
import type { CatalogueEntry, PublishedFile } from '../../../../shared/data/catalogue/entry.ts';
import { getDataSet } from '../../../../shared/data/catalogue/get.node.ts';
import { readRecords } from '../../../../shared/data/records.node.ts';
import { gitRepository } from './git-repository.ts';
import { type PublishedServer, startPublishedServer } from './published-server.ts';
import { tarArchive } from './tar-archive.ts';

const banking = catalogue.find(({ name }) => name === 'banking77')!;
const medquad = catalogue.find(({ name }) => name === 'medquad')!;

/** Stand-ins with the columns of the published files. */
const published: Readonly<Record<string, string>> = {
  'banking_data/train.csv': `text,category\n${Array.from({ length: 30 }, (_, index) => `question ${index},fees`).join('\n')}\n`,
  'banking_data/test.csv': 'text,category\n"Fees, please?",fees\n',
};

describe('getDataSet', () => {
  let server: PublishedServer;
  let folder = '';
  beforeEach(async () => {
    server = await startPublishedServer();
    folder = mkdtempSync(join(tmpdir(), 'tributary-get-'));
    for (const [path, text] of Object.entries(published)) serve(path, text);
  });
  afterEach(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const { repository, commit } = banking.publication;
  const serve = (path: string, text: string): void =>
    void server.files.set(`/${repository}/${commit}/${path}`, Buffer.from(text));
  const get = (entry: CatalogueEntry = banking, name = 'out') =>
    getDataSet(entry, {
      folder: join(folder, name),
      mirror: `${server.origin}/`,
      signal: new AbortController().signal,
      retryDelayMs: 0,
    });
  const withChecksums = (checksums: (text: string) => Omit<PublishedFile, 'path'>): CatalogueEntry => ({
    ...banking,
    publication: {
      ...banking.publication,
      files: Object.entries(published).map(([path, text]) => ({ path, ...checksums(text) })),
    },
  });
  const sha256 = (text: string | Uint8Array) => createHash('sha256').update(text).digest('hex');

  it('[GET-1] fetches the published paths at the commit, converts, and leaves rows and a record, nothing else', async () => {
    const { record, wasThere } = await get();
    assert.equal(wasThere, false);
    assert.deepEqual(
      server.requests.map(({ path }) => path),
      ['train', 'test'].map((name) => `/${repository}/${commit}/banking_data/${name}.csv`),
    );
    const out = join(folder, 'out');
    assert.deepEqual(readdirSync(out).sort(), [
      'source.json',
      'test.jsonl.gz',
      'train.jsonl.gz',
      'validation.jsonl.gz',
    ]);
    const rows = [];
    for await (const { value } of readRecords(join(out, 'test.jsonl.gz'))) rows.push(value);
    assert.deepEqual(rows, [{ text: 'Fees, please?', label: 'fees', lang: 'en' }]);
    const { train, validation, test } = record.converted;
    assert.deepEqual([train.rows, validation.rows, test.rows], [27, 3, 1]);
    assert.equal(train.sha256, sha256(gunzipSync(readFileSync(join(out, 'train.jsonl.gz')))));
    assert.deepEqual(JSON.parse(readFileSync(join(out, 'source.json'), 'utf8')), record);
    assert.deepEqual(
      record.published.map(({ checkedBy, sha256: sum }) => [checkedBy, sum]),
      Object.values(published).map((text) => ['address', sha256(text)]),
    );
    assert.equal(record.convertedCheckedBy, 'nothing');
  });

  it('[GET-2] gives the same bytes each time, and fetches nothing that is there and whole', async () => {
    await get();
    await get(banking, 'again');
    const bytes = (name: string) =>
      ['train', 'test'].map((side) => readFileSync(join(folder, name, `${side}.jsonl.gz`)));
    assert.deepEqual(bytes('again'), bytes('out'));
    assert.equal(bytes('out')[0]![9], 255);
    server.requests.length = 0;
    assert.equal((await get()).wasThere, true);
    assert.deepEqual(server.requests, []);
    writeFileSync(join(folder, 'out', 'train.jsonl.gz'), gzipSync('{"text":"changed"}\n'));
    assert.equal((await get()).wasThere, false);
    assert.equal((await get({ ...banking, conversion: 2 })).wasThere, false);
    assert.deepEqual(bytes('again'), bytes('out'));
  });

  it('[GET-3] checks SHA-256 and git object ids where they are known, and says by what', async () => {
    const gitBlob = (text: string) =>
      createHash('sha1')
        .update(`blob ${Buffer.byteLength(text)}\0${text}`)
        .digest('hex');
    const checkedBy = async (entry: CatalogueEntry, name: string) =>
      (await get(entry, name)).record.published.map((file) => file.checkedBy);
    assert.deepEqual(
      await checkedBy(
        withChecksums((text) => ({ sha256: sha256(text) })),
        'a',
      ),
      ['sha256', 'sha256'],
    );
    assert.deepEqual(
      await checkedBy(
        withChecksums((text) => ({ gitBlob: gitBlob(text) })),
        'b',
      ),
      ['git-blob', 'git-blob'],
    );
    for (const wrong of [{ sha256: '0'.repeat(64) }, { gitBlob: '0'.repeat(40) }]) {
      await assert.rejects(
        get(
          withChecksums(() => wrong),
          'c',
        ),
        (thrown: Error & { code?: string }) => {
          assert.equal(thrown.code, 'checksum-mismatch');
          assert.match(
            thrown.message,
            /train\.csv: expected the (SHA-256|git blob) 0+, found [0-9a-f]+; the file was deleted/,
          );
          return true;
        },
      );
      assert.ok(!existsSync(join(folder, 'c', 'source.json')) && !existsSync(join(folder, 'c', 'train.jsonl.gz')));
    }
  });

  it('[GET-4] counts the object id of a file as git does', async () => {
    serve('hello.txt', 'hello\n');
    const hello: CatalogueEntry = {
      ...banking,
      publication: {
        ...banking.publication,
        // printf 'hello\n' | git hash-object --stdin
        files: [{ path: 'hello.txt', gitBlob: 'ce013625030ba8dba906f756967f9e9ca394464a' }],
      },
      convert: () => ({ train: [], validation: [], test: [] }),
    };
    assert.equal((await get(hello)).record.published[0]?.checkedBy, 'git-blob');
  });

  it('[GET-5] compares the rows with recorded checksums where there are any', async () => {
    const { converted } = (await get()).record;
    const sums = {
      train: converted.train.sha256,
      validation: converted.validation.sha256,
      test: converted.test.sha256,
    };
    const right = { ...banking, converted: sums };
    assert.equal((await get(right, 'right')).record.convertedCheckedBy, 'sha256');
    await assert.rejects(get({ ...right, converted: { ...sums, test: '0'.repeat(64) } }, 'wrong'), {
      code: 'checksum-mismatch',
    });
    assert.ok(!existsSync(join(folder, 'wrong', 'source.json')));
  });

  it('[GET-6] after a failure goes on with the files that are missing', async () => {
    server.files.delete(`/${repository}/${commit}/banking_data/test.csv`);
    await assert.rejects(get(), { code: 'download-failed' });
    serve('banking_data/test.csv', published['banking_data/test.csv']!);
    server.requests.length = 0;
    await get();
    assert.deepEqual(
      server.requests.map(({ path }) => path.split('/').at(-1)),
      ['test.csv'],
    );
  });

  it('[GET-7] takes from an archive the files that the set is made of', async () => {
    const document = (name: string) =>
      `<Document id="1" source="CDC"><Focus>${name}</Focus><QAPair><Question qtype="outlook">What ?</Question><Answer>${Array(20).fill(name).join(' ')}.</Answer></QAPair></Document>`;
    const files: Record<string, string> = {
      'MedQuAD-577bd37/readme.txt': 'no row',
      'MedQuAD-577bd37/10_Other/1.xml': '<none>',
    };
    for (let index = 0; index < 220; index++) files[`MedQuAD-577bd37/9_CDC_QA/${index}.xml`] = document(`N${index}`);
    const path = `/${medquad.publication.repository}/tar.gz/${medquad.publication.commit}`;
    server.files.set(path, gzipSync(tarArchive(files)));
    server.hasTags = false;
    const { record } = await get(medquad, 'm');
    const { train, validation, test } = record.converted;
    assert.equal(train.rows + validation.rows + test.rows, 220);
    assert.deepEqual(
      record.published.map(({ path: name }) => name),
      ['archive.tar.gz'],
    );
    server.files.set(path, Buffer.from('no gzip'));
    await assert.rejects(get(medquad, 'n'), { code: 'bad-archive' });
  });

  it('[GET-8] trusts a mirror over https only, but for this machine', async () => {
    for (const mirror of ['http://example.org', 'ftp://127.0.0.1', 'mirror']) {
      const options = { folder: join(folder, 'x'), mirror, signal: new AbortController().signal };
      await assert.rejects(getDataSet(banking, options), { code: 'bad-mirror' });
    }
  });

  describe('with the objects of the commit', () => {
    const listing = (name: string) => `<Document id="1" source="CDC"><Focus>${name}</Focus></Document>`;
    const tree: Readonly<Record<string, string>> = {
      ...published,
      '9_CDC_QA/1.xml': listing('Gout'),
      '9_CDC_QA/2.xml': listing('Flu'),
      'readme.txt': 'no row',
    };
    /** An entry at the commit of a repository of `tree`, which the server has. */
    const atCommit = (entry: CatalogueEntry): CatalogueEntry => {
      const repository = gitRepository(join(folder, 'repository'), tree);
      server.repositories.set(`/${entry.publication.repository}.git`, repository.folder);
      for (const [path, text] of Object.entries(tree)) {
        server.files.set(`/${entry.publication.repository}/${repository.commit}/${path}`, Buffer.from(text));
      }
      return { ...entry, publication: { ...entry.publication, commit: repository.commit } };
    };
    const archive = (files: Readonly<Record<string, string>>): Uint8Array =>
      gzipSync(tarArchive(Object.fromEntries(Object.entries(files).map(([path, text]) => [`root/${path}`, text]))));

    it('[GET-9] a file is the one that the commit stands for, or it is refused', async () => {
      const entry = atCommit(banking);
      assert.deepEqual(
        (await get(entry)).record.published.map(({ checkedBy }) => checkedBy),
        ['commit', 'commit'],
      );
      const path = `/${repository}/${entry.publication.commit}/banking_data/test.csv`;
      server.files.set(path, Buffer.from('text,category\nchanged,fees\n'));
      await assert.rejects(get(entry, 'other'), /test\.csv: expected the git blob \w{40}, found \w{40}/);
      const more = { ...entry, publication: { ...entry.publication, files: [{ path: 'banking_data/none.csv' }] } };
      await assert.rejects(get(more, 'more'), { code: 'missing-file' });
    });

    it('[GET-10] so is every file of an archive, and none of them may be missing', async () => {
      const entry = atCommit(medquad);
      const path = `/${medquad.publication.repository}/tar.gz/${entry.publication.commit}`;
      server.files.set(path, archive(tree));
      assert.deepEqual(
        (await get(entry)).record.published.map(({ checkedBy }) => checkedBy),
        ['commit'],
      );
      server.files.set(path, archive({ ...tree, '9_CDC_QA/2.xml': listing('Changed') }));
      await assert.rejects(get(entry, 'changed'), /9_CDC_QA\/2\.xml in the archive is not the file of commit/);
      const { '9_CDC_QA/1.xml': _, ...fewer } = tree;
      server.files.set(path, archive(fewer));
      await assert.rejects(get(entry, 'fewer'), /1 files of commit \w+ are not in the archive: 9_CDC_QA\/1\.xml/);
    });
  });
});
