import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { CommandModule } from '../../../shared/command-line/context.ts';
import { registerData } from '../../../shared/command-line/data.node.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { catalogue } from '../../../shared/data/catalogue/catalogue.ts';
import type { CatalogueEntry } from '../../../shared/data/catalogue/entry.ts';
import { type PublishedServer, startPublishedServer } from '../data/catalogue/published-server.ts';
import { fakeTerminal } from './fake-terminal.ts';

/** A set of one small file, in place of those that are published. */
const small: CatalogueEntry = {
  ...catalogue[0]!,
  name: 'small',
  publication: { repository: 'owner/name', commit: 'ab'.repeat(20), files: [{ path: 'rows.txt' }] },
  convert: (files) => {
    const rows = files
      .get('rows.txt')!
      .split('\n')
      .map((text) => ({ text, label: 'a', lang: 'en' }));
    return { train: rows.slice(2), validation: rows.slice(1, 2), test: rows.slice(0, 1) };
  },
};

describe('data', () => {
  let folder = '';
  let server: PublishedServer;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-data-command-'));
    server = await startPublishedServer();
    server.files.set(`/owner/name/${'ab'.repeat(20)}/rows.txt`, Buffer.from('a\nb\nc\nd'));
    process.env.TRIBUTARY_DATA_MIRROR = server.origin;
  });
  after(async () => {
    delete process.env.TRIBUTARY_DATA_MIRROR;
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const data = async (...argv: string[]) => {
    const terminal = fakeTerminal();
    const register: CommandModule['register'] = (program, context) =>
      registerData(program, context, [...catalogue, small]);
    const groups = [{ commands: { data: 'data sets' }, load: async () => ({ register }) }];
    const { signal } = new AbortController();
    const code = await runCommandLine({ groups, argv: ['data', ...argv], version: '0', terminal, signal });
    return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
  };

  it('[DAT-1] lists every set with licence, authors, source and by what it is checked, as text and as JSON', async () => {
    const { code, output } = await data('list');
    assert.equal(code, 0);
    const { dataSets } = JSON.parse((await data('list', '--json')).output) as { dataSets: Record<string, unknown>[] };
    assert.deepEqual(
      dataSets.map(({ name }) => name),
      [...catalogue, small].map(({ name }) => name),
    );
    for (const { name, licence, attribution, publication } of catalogue) {
      for (const text of [name, licence.id, attribution, publication.repository, publication.commit.slice(0, 12)]) {
        assert.ok(output.includes(text), `${name}: ${text}`);
      }
    }
    assert.match(
      output,
      /checked +published files by the object ids that commit \w{12} stands for .*; rows as converted: no recorded checksum/,
    );
    assert.ok(dataSets.every((set) => typeof set.verification === 'string' && set.convert === undefined));
  });

  it('[DAT-2] fetches nothing before the licence is accepted', async () => {
    const out = join(folder, 'refused');
    const { code, errors } = await data('get', 'small', '--out', out);
    assert.equal(code, 2);
    assert.match(errors, /small is under CC-BY-4\.0: https:.*authors: PolyAI.*--accept-licence/s);
    assert.deepEqual([server.requests.length, existsSync(out)], [0, false]);
  });

  it('[DAT-3] fetches a set, says what was checked by what, and does not do it twice', async () => {
    const out = join(folder, 'small');
    const first = await data('get', 'small', '--out', out, '--accept-licence');
    assert.equal(first.code, 0, first.errors);
    assert.match(first.output, /small: 2 train, 1 validation, 1 test rows in /);
    assert.match(
      first.output,
      /checked +1 published by nothing but the address, which names commit abababababab; rows by nothing/,
    );
    assert.match(first.output, /tributary train --train .*train\.jsonl\.gz --held-out .*validation\.jsonl\.gz/);
    const again = JSON.parse((await data('get', 'small', '--out', out, '--accept-licence', '--json')).output);
    assert.deepEqual([again.wasThere, again.converted.train.rows, server.requests.length], [true, 2, 1]);
  });

  it('[DAT-4] names the sets there are when it is asked for another', async () => {
    const { code, errors } = await data('get', 'mnist', '--accept-licence');
    assert.equal(code, 2);
    assert.match(errors, /no data set "mnist"; there are: banking77/);
  });

  it('[DAT-5] splits a file and says how many rows went where', async () => {
    const path = join(folder, 'rows.csv');
    const rows = Array.from({ length: 100 }, (_, index) => `text ${index},p${index % 20}`);
    writeFileSync(path, `message,patient\n${rows.join('\n')}\nbroken\n`);
    const out = join(folder, 'parts');
    const options = ['--out', out, '--text-column', 'message', '--group-column', 'patient', '--test', '0.3'];
    const refused = await data('split', path, ...options);
    assert.equal(refused.code, 2);
    assert.match(refused.errors, /rows\.csv, line 102: broken CSV/);
    const { code, output, errors } = await data('split', path, ...options, '--skip-bad-rows', '--json');
    assert.equal(code, 0, errors);
    const { rows: counts, badRows } = JSON.parse(output);
    assert.deepEqual([counts.train + counts.validation + counts.test, counts.leftOut, badRows], [100, 0, 1]);
    assert.match(errors, /left out: .*rows\.csv, line 102: broken CSV/);
    assert.equal((await data('split', path, ...options, '--validation', '0.7')).code, 2);
  });
});
