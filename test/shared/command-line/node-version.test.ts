import { strict as assert } from 'node:assert';
import { isSupported, refusalOf } from '../../../shared/command-line/node-version.ts';

describe('versions of Node', () => {
  it('[DCR-4] begins with Node 22.18', () => {
    const supported = ['22.18.0', '22.20.1', '23.0.0', '24.1.0'];
    const refused = ['22.17.9', '20.19.0', '18.0.0', ''];
    assert.deepEqual(
      [...supported, ...refused].filter((version) => isSupported(version)),
      supported,
    );
  });

  it('[DCR-7] that are older are refused with the one that is needed', () => {
    assert.equal(refusalOf('24.1.0'), null);
    const refusal = refusalOf('20.19.0');
    assert.equal(refusal?.code, 'old-node');
    assert.match(refusal.message, /needs Node 22\.18 or later, this is Node 20\.19\.0; /);
  });
});
