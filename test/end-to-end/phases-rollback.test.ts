/** A federation of phases that is taken back to a version inside a later phase goes on there. */
import { strict as assert } from 'node:assert';
import { openAudit } from '../../coordinator/audit/open-audit.ts';
import { contributionsOf, lastWithout } from '../../coordinator/library/contributions.ts';
import { placesOf, planOfVersion } from '../../coordinator/library/places.ts';
import { makeRollback } from '../../coordinator/library/publish.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { FederationError } from '../../shared/core/errors.ts';
import { closeWorlds, seededEntropy } from '../coordinator/harness.ts';
import { federatePhases, phasedDocument, startOf } from './phased-federation.ts';

const dims = [3, 5];
const clients = Array.from({ length: 4 }, () => ({
  deltaOf: ({ phase }: { readonly phase: number }) => new Float32Array(dims[phase]!).fill(1),
}));

describe('phases that are rolled back', () => {
  afterEach(closeWorlds);

  it('[PHX-8] a site is in the versions of its phase and of those that build on it, and in none of a phase that does not', async () => {
    const all = [...dims, dims[0]!];
    const staying = { deltaOf: ({ phase }: { readonly phase: number }) => new Float32Array(all[phase]!).fill(1) };
    const leaving = {
      deltaOf: ({ phase }: { readonly phase: number }) => {
        if (phase > 0) throw new FederationError('no-rows', 'no rows of this phase');
        return staying.deltaOf({ phase });
      },
    };
    const document = phasedDocument([{}, {}, { start: 'phase-0' }]);
    const { library, end } = await federatePhases(document, {
      dims: all,
      clients: [staying, staying, staying, leaving],
    });
    assert.equal(end.status, 'completed', end.detail);
    const [first, second] = [library[1]!.record.contributors, library[4]!.record.contributors];
    const left = first.find((clientId) => !second.includes(clientId))!;
    assert.deepEqual(contributionsOf(library, left, document), { direct: [1, 2], all: [1, 2, 6, 7, 8] });
    const stayed = contributionsOf(library, second[0]!, document);
    assert.deepEqual(stayed, { direct: [1, 2, 4, 5, 7, 8], all: [1, 2, 4, 5, 6, 7, 8] });
    assert.equal(lastWithout(library, left).row.version, 0);
  });

  for (const [target, indices] of [
    [4, [0, 0, 0, 1, 1, 1, 1, 1]],
    [1, [0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1]],
  ] as const)
    it(`[PHX-7/${target}] back to version ${target}, what was taken back is trained again, later phases from their start`, async () => {
      const memory = memoryState(seededEntropy(1));
      const state = { ...memory, close: async () => undefined };
      const document = phasedDocument([{}, {}]);
      const first = await federatePhases(document, { dims, clients, state });
      assert.equal(first.end.status, 'completed', first.end.detail);
      await first.world.coordinator.close();
      const rows = await memory.store.versions();
      const chosen = first.library[target]!;
      const plan = planOfVersion(document, placesOf(first.library.map(({ record }) => record))[target]!, rows);
      const federation = (await memory.store.federation())!;
      const lineage = { identity: memory.identity, plan, record: federation, publishedMs: 5 };
      const { store } = await openAudit(memory, null, first.world.clock);
      const made = makeRollback(lineage, { latest: rows.at(-1)!, target: chosen });
      await store.addVersion(made);
      const used = (await memory.store.rounds()).at(-1)!.roundIndex + 1;
      await store.openRound(used, made.modelHash, 0);
      await store.voidRound(used, 0, 'rolled back');

      const second = await federatePhases(document, { dims, clients, state, seed: 2 });
      assert.equal(second.end.status, 'completed', second.end.detail);
      const places = placesOf(second.library.map(({ record }) => record));
      assert.deepEqual(
        places.map(({ index }) => index),
        indices,
      );
      const values = second.adapters.map((adapter) => adapter[0]!);
      assert.equal(values[6], values[target]);
      assert.equal(values[7], values[target]! + 1);
      assert.equal(values.at(-1), startOf(1) + 2);
    });
});
