import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { forkAmong, noHead } from '../../../shared/audit/checkpoint.ts';
import { encodePayload, entryTypes } from '../../../shared/audit/entry.ts';
import type { Digest } from '../../../shared/core/ids.ts';

describe('entries and heads of the log', () => {
  it('[ENT-1] SPEC.md lists every type of entry', () => {
    const spec = readFileSync(new URL('../../../shared/protocol/SPEC.md', import.meta.url), 'utf8');
    const [, listed = ''] = /<!-- entries -->([\s\S]*?)<!-- \/entries -->/.exec(spec) ?? [];
    const names = [...listed.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    assert.deepEqual(new Set(names), new Set(entryTypes));
    assert.equal(names.length, entryTypes.length);
  });

  it('[ENT-2] equal details have one hash, whatever the order of their fields', () => {
    assert.equal(encodePayload({ a: 1, b: [2] }).hash, encodePayload({ b: [2], a: 1 }).hash);
    assert.notEqual(encodePayload({ a: 1 }).hash, encodePayload({ a: 2 }).hash);
  });

  it('[ENT-3] two heads of one size with different roots are a fork; heads of other sizes, and of nobody, are not', () => {
    const head = (size: number, digits: string) => ({ size, root: digits.repeat(32) as Digest });
    assert.equal(forkAmong([noHead, head(3, 'aa'), head(4, 'bb'), noHead, head(3, 'aa')]), null);
    assert.deepEqual(forkAmong([head(3, 'aa'), head(4, 'bb'), head(3, 'cc')]), [head(3, 'aa'), head(3, 'cc')]);
  });
});
