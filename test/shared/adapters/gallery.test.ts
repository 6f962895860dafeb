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

  it('[GAL-6] the file of every method holds its equation, shapes, and the papers that the gallery names', () => {
    for (const { method, paper } of galleryOf(bertLike())) {
      const path = ['', 'composition/']
        .map((part) => join(root, `shared/adapters/${part}${method}.ts`))
        .find(existsSync);
      assert.ok(path !== undefined, `${method} is a file of its own`);
      const header = /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(path, 'utf8'))![0];
      const text = header.replaceAll(/\s*\n \* ?/g, ' ');
      assert.match(text, /\S = \S/, `${method}: an equation`);
      assert.match(text, /`\[[^\]`]*[a-z][^\]`]*\]`/, `${method}: shapes`);
      const papers = paper.match(/[\p{Lu}][\p{L} ]+? \d{4}[a-z]?/gu) ?? [];
      assert.ok(papers.length > 0, `${method}: a paper with its year`);
      for (const one of papers) assert.ok(text.includes(one), `${method}: ${one}`);
    }
  });

  it('[GAL-5] counts what the equations of the methods have on BERT-base', () => {
    const [layers, hidden, inner, words, positions] = [12, 768, 3072, 30_522, 512];
    const linear = (from: number, to: number): number => from * to + to;
    const norm = 2 * hidden;
    const bottleneck = layers * (linear(hidden, 48) + linear(48, hidden));
    const lora = layers * 2 * 8 * (hidden + hidden);
    const block = 4 * linear(hidden, hidden) + linear(hidden, inner) + linear(inner, hidden) + 2 * norm;
    // What a generator reads is 64 wide; there are vectors of 1 task, 12 layers and 2 positions.
    const generated = 2 * hidden * 24 + 24 + hidden + norm;
    const source = linear(3 * 64, 128) + linear(128, 64) + 2 * 64 + (1 + layers + 2) * 64;
    const expected = {
      none: 0,
      bottleneck,
      compacter: layers * 3 * (hidden + 24) + 4 ** 3,
      lora,
      dora: lora + layers * 2 * hidden,
      vera: layers * 2 * (256 + hidden),
      ia3: layers * (hidden + hidden + inner),
      bias: layers * (4 * hidden + inner + hidden),
      full: (words + positions + 2) * hidden + norm + layers * block + linear(hidden, hidden),
      prefix: layers * 2 * 30 * hidden,
      prompt: 10 * hidden,
      invertible: 2 * (linear(hidden / 2, hidden / 4) + linear(hidden / 4, hidden / 2)),
      hyperformer: (64 + 1) * generated + source,
      mixture: 4 * bottleneck + layers * 4 * hidden,
      stack: 2 * bottleneck,
      fuse: layers * (3 * hidden ** 2 + 2 * hidden),
      average: 2 * bottleneck + 2,
      gate: bottleneck + 2 * layers,
      split: 2 * bottleneck,
      'batch-split': 2 * bottleneck,
      parallel: 2 * bottleneck,
    };
    const found = galleryOf(bertLike()).map(({ method, parameters }) => [method, parameters]);
    assert.deepEqual(Object.fromEntries(found), expected);
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
