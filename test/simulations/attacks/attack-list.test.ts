/** The list of rules, attacks and gates in the documentation is complete, and the tests that it names exist. */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { attacks, gatedAttacks } from '../../../simulations/attacks/attacks.ts';
import { readSources } from '../../house-rules/sources.ts';

const page = readFileSync(new URL('../../../simulations/attacks/README.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| '));

describe('list of rules and attacks', () => {
  it('[ATL-1] has every rule that a plan can name, and every attack with its settings', () => {
    const first = rows.flatMap((row) => row.split('|')[1]!.trim().split(', '));
    for (const rule of robustRuleNames) assert.ok(first.includes(rule === 'none' ? 'mean' : rule), rule);
    for (const name of Object.keys(attacks)) {
      const [, attack, setting] = /^(.*?)(?:-([\d.]+|plus|unit|sign))?$/.exec(name)!;
      const row = rows.find((line) => line.split('|')[1]!.trim().split(', ').includes(attack!));
      assert.ok(row !== undefined, name);
      if (/\d/.test(setting ?? '')) assert.match(row, new RegExp(`\\b${setting!.replace('.', '\\.')}\\b`), name);
    }
    for (const name of gatedAttacks) assert.match(name, /^(?:sign-flip-10|gaussian-100|scaling-100|ipm-0\.5)$/);
  });

  it('[ATL-2] names tests that there are', () => {
    const titles = readSources('test')
      .map(({ text }) => text)
      .join('\n');
    const named = new Set(page.match(/\b(?:ROB|ATK)-\d+(?:\/[\w-]+)?/g));
    assert.ok(named.size > 20);
    for (const name of named) {
      const [id, of] = name.split('/');
      assert.match(titles, new RegExp(String.raw`\[${id}(?:\]|/\$\{robust\}\]|/)`), name);
      if (of !== undefined)
        assert.ok(
          robustRuleNames.some((rule) => rule === of),
          name,
        );
    }
  });
});
