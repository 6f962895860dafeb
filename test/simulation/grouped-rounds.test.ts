import { strict as assert } from 'node:assert';
import { tryGroupedSeeds } from './grouped-rounds.ts';

describe('masked rounds in groups, with faults', () => {
  it('[GRW-1] 30 seeds: groups are disjoint, open at their threshold and not below, and open what their members gave', () => {
    const seen = tryGroupedSeeds(1, 30);
    for (const end of ['whole', 'partly', 'void']) assert.ok((seen.get(end) ?? 0) > 0, end);
  }).timeout(60_000);
});
