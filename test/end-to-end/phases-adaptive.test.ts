/** Phases whose clip norms follow their updates: each phase begins with its own norm, and one budget covers all. */
import { strict as assert } from 'node:assert';
import { readStatement } from '../../shared/plan/privacy.ts';
import { numberShareOf } from '../../shared/plan/privacy-share.ts';
import { closeWorlds } from '../coordinator/harness.ts';
import { federatePhases, phasedDocument } from './phased-federation.ts';

const dims = [40, 90];
/** Four clients whose updates have a norm of two in the first phase, and of a fifth in the second. */
const clients = Array.from({ length: 4 }, () => ({
  deltaOf: ({ phase }: { readonly phase: number }) =>
    new Float32Array(dims[phase]!).fill((phase === 0 ? 2 : 0.2) / Math.sqrt(dims[phase]!)),
}));

describe('phases with adaptive clipping', () => {
  afterEach(closeWorlds);

  for (const mechanism of ['central', 'distributed'] as const)
    it(`[PHX-2/${mechanism}] the norm follows the updates within a phase, and the next begins with its own; every number is charged`, async () => {
      const adaptive = { learningRate: 1 };
      const privacy = { unit: 'client', mechanism, clipNorm: 0.1, noiseMultiplier: 0.5, epsilon: 900, adaptive };
      const document = phasedDocument(
        [{}, { privacy: { clipNorm: 3, adaptive } }],
        {
          privacy,
          aggregation: { weighting: 'equal' },
          secureAggregation: { mode: mechanism === 'central' ? 'off' : 'on' },
        },
        { count: 4, quorum: 4 },
      );
      const { end, library } = await federatePhases(document, { dims, clients });
      assert.equal(end.status, 'completed', end.detail);
      const norms = library.map(({ record }) => record.measures.find(({ name }) => name === 'clip-norm')?.value);
      assert.deepEqual([norms[0], norms[5]], [undefined, undefined], 'what begins a phase was not clipped');
      // A version names the norm of the next round: from 0.1 it grows, from 3 it shrinks, and 3 is not what the first phase came to.
      assert.ok(norms[1]! < 0.3 && norms[4]! > 1.5 * norms[1]!, `first phase: ${norms.join()}`);
      assert.ok(norms[6]! > 1.5 * norms[4]! && norms[9]! < norms[6]! / 2, `second phase: ${norms.join()}`);
      const share = numberShareOf(document)!;
      for (const [version, { record }] of library.entries()) {
        if (version === 0) continue;
        const { epsilon } = readStatement(record.privacy);
        // Versions use up one number each, and so does what begins the second phase.
        assert.ok(epsilon! >= share.epsilonAfter(version) * 0.9999, `version ${version}: ${epsilon}`);
      }
    });
});
