import { strict as assert } from 'node:assert';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { galleryOf } from '../../../shared/adapters/gallery.ts';
import { root } from '../../house-rules/sources.ts';
import { bertLike, gpt2Like } from './bases.ts';

/** The table as the methods have it. */
function galleryTable(): string {
  const rows = galleryOf(bertLike()).map(({ method, purpose, picture, parameters, paper, checks, fixtures }) => [
    `\`${method}\``,
    purpose,
    `\`${picture}\``,
    parameters.toLocaleString('en'),
    paper,
    [checks, ...fixtures.map((name) => `\`${name}\``)].join(', '),
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

  it('[GAL-4] names fixtures that there are, and leaves out none of an adapter', () => {
    const folder = join(root, 'test/parity/fixtures');
    const bases = ['bert', 'distilbert', 'gpt2', 'roberta'];
    const cases = readdirSync(join(folder, 'bert/adapters')).map((file) => file.replace('.safetensors', ''));
    const folders = readdirSync(folder).filter((name) => /^(peft|hyperformer|switch)_?/.test(name));
    const named = galleryOf(bertLike()).flatMap(({ fixtures }) => fixtures);
    // Merges are of several adapters of one method.
    const wanted = [...cases, ...folders].filter((name) => !name.includes('_merge_'));
    assert.deepEqual([...named].sort(), wanted.sort());
    for (const base of bases)
      for (const name of cases) assert.ok(existsSync(join(folder, base, 'adapters', `${name}.safetensors`)), name);
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
