import { closeWorlds } from '../coordinator/harness.ts';
import { checkDivided, spokenKinds } from './masked-adversity.ts';

describe('a divided network', () => {
  afterEach(closeWorlds);

  for (const kind of spokenKinds)
    it(`[network-partition] two of seven before ${kind}: the round ends by its deadlines, history is one line`, async () => {
      await checkDivided(kind);
    });
});
