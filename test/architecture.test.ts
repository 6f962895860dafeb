/** ARCHITECTURE.md and README.md are checked where a program can check them. */
import { strict as assert } from 'node:assert';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { phaseDiagram } from '../coordinator/rounds/table.ts';
import { root } from './house-rules/sources.ts';

const read = (name: string): string => readFileSync(join(root, name), 'utf8');

describe('documents', () => {
  it('[ARC-1] the diagram of the phases in ARCHITECTURE.md is the one of the table', () => {
    const section = /<!-- phases -->\n```mermaid\n([\s\S]*?)\n```\n<!-- \/phases -->/.exec(read('ARCHITECTURE.md'));
    assert.ok(section !== null, 'ARCHITECTURE.md has a diagram between the marks');
    assert.equal(section[1], phaseDiagram(), 'print it anew with phaseDiagram() of coordinator/rounds/table.ts');
  });

  it('[ARC-2] links between documents lead somewhere', () => {
    for (const name of ['README.md', 'ARCHITECTURE.md', 'SECURITY.md']) {
      for (const [, target] of read(name).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
        assert.ok(existsSync(join(root, target!)), `${name} links to ${target}, which is not there`);
      }
    }
  });

  it('[ARC-3] every npm script that the documents name exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const name of ['README.md', 'ARCHITECTURE.md', 'SECURITY.md']) {
      for (const [, script] of read(name).matchAll(/npm run (?:--silent )?([a-z:-]+)/g)) {
        assert.ok(script! in scripts, `${name} names npm run ${script}`);
      }
    }
  });
});
