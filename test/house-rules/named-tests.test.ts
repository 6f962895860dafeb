import { strict as assert } from 'node:assert';
import { namedTests, placesOf, withoutTest } from './named-tests.ts';

/** Names that apply and have no test of their own yet. */
const open: readonly string[] = ['ring-overflow-attack', 'scale-100x', 'torn-write', 'browser-node-mixed round'];

describe('named tests of the security specification', () => {
  it('[HR-15] every name that applies stands in the title of a test, but for those that are listed as open', () => {
    const names = Object.values(namedTests).flat();
    assert.equal(Object.keys(namedTests).length, 65);
    const missing = names.filter((name) => !(name in withoutTest) && placesOf(name).length === 0);
    assert.deepEqual(
      missing.filter((name) => !open.includes(name)),
      [],
    );
  });
});
