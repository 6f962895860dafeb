import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import { type ContentCheck, contentFaultOf, contentOf } from '../../../shared/update/content.ts';
import { type AggregationClass, layoutOf } from '../../../shared/update/layout.ts';

const baseDigest = '0a'.repeat(32) as Digest;
const tensor = (name: string, aggregationClass: AggregationClass = 'mean', size = 2) => {
  return { name, shape: [size], aggregationClass, decays: true };
};
const alone = {
  baseDigest,
  layout: layoutOf([tensor('layers.0.down'), tensor('layers.1.down'), tensor('head.bias')]),
  values: Float32Array.of(1, 2, 3, 4, 5, 6),
};
/** The same adapter as a member of a member, beside one that is trained. */
const composed = (held: AggregationClass = 'frozen'): ContentCheck => ({
  baseDigest,
  layout: layoutOf([
    tensor('own.layers.0.down'),
    tensor('pair.one.layers.0.down', held),
    tensor('pair.one.layers.1.down', held),
    tensor('head.bias'),
  ]),
  values: Float32Array.of(9, 9, 1, 2, 3, 4, 0, 0),
});
const naming = (fields: object) => ({
  method: 'stack',
  members: [{ id: 'own' }, { id: 'pair', members: [{ id: 'one', ...fields }] }],
});
const other = 'ff'.repeat(32) as Digest;

describe('content of adapters', () => {
  it('[CNO-1] a member has the content of the adapter that it was made from, whatever its head; base, names, shapes and values count', () => {
    const content = contentOf(alone);
    assert.equal(contentOf(composed(), 'pair.one.'), content);
    assert.equal(contentOf({ ...alone, values: Float32Array.of(1, 2, 3, 4, 7, 7) }), content);
    const changed = [
      { ...alone, values: Float32Array.of(1, 2, 3, 5, 5, 6) },
      { ...alone, baseDigest: other },
      { ...alone, layout: layoutOf([tensor('layers.0.down'), tensor('layers.2.down'), tensor('head.bias')]) },
      { ...alone, layout: layoutOf([tensor('layers.0.down', 'mean', 4), tensor('head.bias')]) },
    ];
    assert.equal(new Set([content, ...changed.map((one) => contentOf(one))]).size, 1 + changed.length);
  });

  it('[CNO-2] a wrong content is found in frozen members of members, and in trained ones at the start alone', () => {
    const content = contentOf(alone);
    assert.equal(contentFaultOf(naming({ content }), composed()), null);
    const path = 'adapter.members[1].members[0].content';
    const fault = { path, member: 'one', expected: other, found: content };
    assert.deepEqual(contentFaultOf(naming({ content: other }), composed()), fault);
    assert.equal(contentFaultOf(naming({ content: other }), composed('mean')), null);
    assert.deepEqual(contentFaultOf(naming({ content: other }), { ...composed('mean'), isStart: true }), fault);
  });

  it('[CNO-3] a member that is a version is compared with what was seen of that version, if it was', () => {
    const adapter = naming({ version: other });
    assert.equal(contentFaultOf(adapter, composed()), null);
    const seen = (content: Digest) => ({ ...composed(), contentOfVersion: new Map([[other, content]]) });
    assert.equal(contentFaultOf(adapter, seen(contentOf(alone))), null);
    assert.equal(contentFaultOf(adapter, seen(other))?.path, 'adapter.members[1].members[0].version');
  });
});
