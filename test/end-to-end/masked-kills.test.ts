import { checkKills } from './masked-kills.ts';

describe('a masked coordinator whose process is killed', () => {
  it('[MKP-1] kill-9-server-at-every-await: before and after the request to unmask is durable, and at publication', async function () {
    this.timeout(60_000);
    await checkKills([
      // The request to unmask follows from the last consent.
      { step: 'agree', count: 3, moment: 'before' },
      { step: 'agree', count: 3, moment: 'after' },
      { step: 'publish', count: 1, moment: 'before' },
    ]);
  });
});
