import { strict as assert } from 'node:assert';
import { tryGroupedSeeds } from './grouped-rounds.ts';

describe('masked rounds in groups, with faults, many seeds', () => {
  it('[GRW-2] 2,000 seeds: groups are disjoint, open at their threshold and not below, and open what their members gave', () => {
    const seen = tryGroupedSeeds(1_000, 2_000);
    for (const end of ['whole', 'partly', 'void']) assert.ok((seen.get(end) ?? 0) > 100, end);
  }).timeout(3_600_000);
});
