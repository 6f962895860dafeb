import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { galleryOf } from '../../../shared/adapters/gallery.ts';
import { root } from '../../house-rules/sources.ts';
import { bertLike, gpt2Like } from './bases.ts';

/** The table as the methods have it. */
function galleryTable(): string {
  const rows = galleryOf(bertLike()).map(({ method, purpose, picture, parameters, paper, checks }) => [
    `\`${method}\``,
    purpose,
    `\`${picture}\``,
    parameters.toLocaleString('en'),
    paper,
    checks,
  ]);
  const heading = ['method', 'good for', 'where it sits', 'parameters', 'paper', 'checked against'];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heading), `|${'---|'.repeat(heading.length)}`, ...rows.map(line)].join('\n');
}

describe('gallery of adapter methods', () => {
  it('[GAL-1] stands in the documentation as the methods have it', () => {
    const text = readFileSync(join(root, 'shared/adapters/README.md'), 'utf8');
    const found = /<!-- gallery -->\n([\s\S]*?)\n?<!-- \/gallery -->/.exec(text)?.[1];
    assert.equal(found, galleryTable(), 'replace the table by the expected one');
  });

  it('[GAL-2] says of every method what it is good for and what it is checked against', () => {
    for (const { method, purpose, checks } of galleryOf(bertLike())) assert.ok(purpose !== '' && checks !== '', method);
  });

  it('[GAL-3] draws where a method sits from what it does', () => {
    const pictures = (base: ReturnType<typeof bertLike>) =>
      new Map(galleryOf(base).map(({ method, picture }) => [method, picture]));
    const onBert = pictures(bertLike());
    assert.equal(onBert.get('none'), 'words › positions › q k v › attention › o › + › up › down › + › head');
    assert.equal(onBert.get('lora'), 'words › positions › [q] k [v] › attention › o › + › up › down › + › head');
    assert.equal(onBert.get('bottleneck'), 'words › positions › q k v › attention › o › + › up › down › [+] › head');
    assert.equal(onBert.get('hyperformer'), 'words › positions › q k v › attention › o › [+] › up › down › [+] › head');
    assert.equal(onBert.get('prefix'), 'words › positions › q k v › [attention] › o › + › up › down › + › head');
    assert.equal(onBert.get('invertible'), 'words › [positions] › q k v › attention › o › + › up › down › + › [head]');
    assert.equal(
      pictures(gpt2Like()).get('lora'),
      'words › positions › [qkv] › attention › o › + › up › down › + › head',
    );
  });
});
