import { checkKills } from './masked-kills.ts';

describe('a masked coordinator whose process is killed', () => {
  it('[MKP-1] kill-9-server-at-every-await: in every phase; before survivors are fixed it tries again with new keys, then it finishes', async function () {
    this.timeout(600_000);
    await checkKills([
      { step: 'advert', count: 2, moment: 'after' },
      { step: 'shares', count: 3, moment: 'before' },
      { step: 'masked', count: 2, moment: 'after' },
      // The request to unmask follows from the last consent.
      { step: 'agree', count: 3, moment: 'before' },
      { step: 'agree', count: 3, moment: 'after' },
      { step: 'unmask', count: 2, moment: 'after' },
      { step: 'publish', count: 1, moment: 'before' },
    ]);
  });
});
