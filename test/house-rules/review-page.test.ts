/** The pages for security officers and reviewers name code and tests that there are, and leave no promise or threat without any. */
import { strict as assert } from 'node:assert';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { namedTests, placesOf } from './named-tests.ts';
import { readSources, root } from './sources.ts';

const promises = readFileSync(join(root, 'SECURITY.md'), 'utf8');
const review = readFileSync(join(root, 'coordinator/audit/REVIEW.md'), 'utf8');
const quoted = (text: string): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, name]) => name!);
const rows = review
  .slice(0, review.indexOf('## Check a federation'))
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| SECURITY.md'))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, about, , code, tests]) => ({ about: about!, code: quoted(code!), tests: quoted(tests!) }));

const isId = (name: string): boolean => /^[A-Z]{2,}-\d+[a-z]?$/.test(name);

describe('pages about security', () => {
  const titles = readSources('test')
    .filter(({ path }) => !path.startsWith('test/house-rules/review-page'))
    .map(({ text }) => text)
    .join('\n');
  const exists = (id: string): boolean => new RegExp(String.raw`['"\`]\[${id}[\]/]`).test(titles);

  it('[HR-17] every test that they name is in test/, and every file is there', () => {
    assert.ok(rows.length > 20, `${rows.length} rows`);
    const named = rows.flatMap(({ tests }) => tests);
    const specified = new Set(Object.values(namedTests).flat());
    const run = [...review.matchAll(/-g '([^']+)'/g)].map(([, id]) => id!);
    const ids = [...named, ...quoted(promises), ...quoted(review), ...run].filter(isId);
    const names = named.filter((name) => !isId(name));
    assert.deepEqual(
      [
        ...ids.filter((id) => !exists(id)),
        ...names.filter((name) => !specified.has(name) || placesOf(name).length === 0),
      ],
      [],
    );
    const isPath = (name: string): boolean => /^[\w-]+(\/[\w.-]+)+\.(ts|md)$/.test(name);
    const paths = [...rows.flatMap(({ code }) => code), ...[promises, review].flatMap(quoted).filter(isPath)];
    assert.deepEqual(
      paths.filter((path) => !existsSync(join(root, path))),
      [],
    );
  });

  it('[HR-18] every promise and every threat has a row with code and tests', () => {
    const wanted = [
      ...[...promises.matchAll(/^(\d+)\. \*\*/gm)].map(([, number]) => number!),
      ...[...promises.matchAll(/^\| (A\d+) \|/gm)].map(([, threat]) => threat!),
    ];
    assert.ok(wanted.length > 20, wanted.join());
    const covered = new Set(rows.flatMap(({ about }) => about.split(', ')));
    assert.deepEqual(
      wanted.filter((one) => !covered.has(one)),
      [],
    );
    for (const { about, code, tests } of rows) assert.ok(code.length > 0 && tests.length > 0, about);
  });

  it('[HR-19] both say that nobody outside has reviewed this, and how to report', () => {
    for (const page of [promises, review])
      assert.match(page, /^# [^\n]+\n\n[^#]*\*\*no outside review[^.]*has happened/i);
    assert.match(review, /^[^#]*# [^#]*Report what you find as SECURITY\.md says, privately/);
    assert.match(promises, /^## Reporting\n\n[\s\S]*privately[\s\S]*security advisory/m);
  });
});
