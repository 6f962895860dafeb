import { type Doom, doomSteps } from './doom.ts';
import { checkKills } from './masked-kills.ts';

describe('a masked coordinator whose process is killed at every step', () => {
  it('[MKP-2] before and after each message of each client is durable', async function () {
    this.timeout(1_200_000);
    const kills = doomSteps.flatMap((step) => {
      const most = step === 'attempt' || step === 'publish' ? 1 : 3;
      return Array.from({ length: most }, (_, index) =>
        (['before', 'after'] as const).map((moment): Omit<Doom, 'roundIndex'> => ({ step, count: index + 1, moment })),
      ).flat();
    });
    await checkKills(kills);
  });

  it('[MKP-3] once in every phase: before survivors are fixed it tries again with new keys, then it finishes', async function () {
    this.timeout(300_000);
    await checkKills([
      { step: 'advert', count: 2, moment: 'after' },
      { step: 'shares', count: 3, moment: 'before' },
      { step: 'masked', count: 2, moment: 'after' },
      { step: 'agree', count: 3, moment: 'before' },
      { step: 'agree', count: 3, moment: 'after' },
      { step: 'unmask', count: 2, moment: 'after' },
      { step: 'publish', count: 1, moment: 'before' },
    ]);
  });
});
