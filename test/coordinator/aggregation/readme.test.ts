/** The table of rules in the documentation is made from their declarations. */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { aggregationClasses } from '../../../shared/update/layout.ts';
import { declarationOf, lowRankRuleNames } from '../../../shared/update/low-rank-rules.ts';
import { root } from '../../house-rules/sources.ts';

const text = readFileSync(join(root, 'coordinator/aggregation/README.md'), 'utf8');

/** The table as the declarations have it. */
function rulesTable(): string {
  const heading = [
    'rule',
    'what it does',
    'sees',
    'guarantee',
    'up',
    'down',
    'server time',
    'server memory',
    'mixed ranks',
    'masked rounds',
  ];
  const rows = lowRankRuleNames.map((name) => {
    const rule = declarationOf(name);
    const instead = (other: string | null): string => (other === null ? 'yes' : `no: \`${other}\``);
    const guarantee = `**${rule.guarantee}**: ${rule.holds}`;
    const sees = rule.needs === 'sum' ? 'the sum' : 'single updates';
    const costs = [rule.uplink, rule.downlink, rule.serverTime, rule.serverMemory];
    return [
      `\`${name}\``,
      rule.summary,
      sees,
      guarantee,
      ...costs,
      instead(rule.insteadForMixedRanks),
      instead(rule.insteadWhenMasked),
    ];
  });
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heading), `|${'---|'.repeat(heading.length)}`, ...rows.map(line)].join('\n');
}

describe('documentation of aggregation', () => {
  it('[AGD-1] holds the table of the declared rules', () => {
    const found = /<!-- rules -->\n([\s\S]*?)\n?<!-- \/rules -->/.exec(text)?.[1];
    assert.equal(found, rulesTable(), 'replace the table by the expected one');
  });

  it('[AGD-2] describes every class', () => {
    for (const name of aggregationClasses) assert.ok(text.includes(`| \`${name}\` |`), name);
  });

  it('[AGD-3] the rule that takes the place of another does what that one cannot', () => {
    for (const name of lowRankRuleNames) {
      const { insteadForMixedRanks, insteadWhenMasked } = declarationOf(name);
      const known = (other: string) => declarationOf(lowRankRuleNames.find((candidate) => candidate === other)!);
      if (insteadForMixedRanks !== null) assert.equal(known(insteadForMixedRanks).insteadForMixedRanks, null, name);
      if (insteadWhenMasked !== null) {
        assert.equal(known(insteadWhenMasked).insteadWhenMasked, null, name);
        assert.equal(known(insteadWhenMasked).needs, 'sum', name);
      }
    }
  });
});
