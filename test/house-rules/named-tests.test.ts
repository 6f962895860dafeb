import { strict as assert } from 'node:assert';
import { namedTests, placesOf, withoutTest } from './named-tests.ts';

describe('named tests of the security specification', () => {
  it('[HR-15] every name stands in the title of a test, or beside the reason why it cannot', () => {
    const names = Object.values(namedTests).flat();
    assert.equal(Object.keys(namedTests).length, 65);
    const missing = names.filter((name) => !(name in withoutTest) && placesOf(name).length === 0);
    assert.deepEqual(missing, []);
  });
});
