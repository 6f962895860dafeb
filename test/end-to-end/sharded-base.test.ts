import { strict as assert } from 'node:assert';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientEvent } from '../../client/events.ts';
import type { Learner } from '../../client/learner.ts';
import type { Coordinator } from '../../coordinator/coordinator.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { describeBase, pretrainedFolder, readBaseFiles } from '../../shared/model/load.node.ts';
import { baseModelFrom } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { fixedLayout, fixedLearner } from '../client/fixed-learner.ts';
import { inFolder, sharded } from '../shared/model/checkpoint-files.ts';
import { openWorld, type World } from './world.ts';

const dim = 3;

/** Loads the base that it is given, and otherwise does what is fixed. */
function loadingLearner(): Learner {
  const fixed = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(1) });
  return {
    ...fixed,
    prepare: async (plan, files) => {
      await useBackend('cpu');
      const { model } = await baseModelFrom(files);
      const baseDigest = model.description.digest;
      model.dispose();
      return { ...(await fixed.prepare(plan, new Map())), baseDigest };
    },
  };
}

describe('a federation on a sharded base', () => {
  let world: World;
  let files: ReadonlyMap<string, Uint8Array>;

  before(async () => {
    files = sharded(await readBaseFiles(pretrainedFolder()), 3);
  });
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  const startOn = async (folder: string, stateName: string): Promise<Coordinator> => {
    const { digest } = await describeBase(folder);
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'sharded',
        base: { digest },
        task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'last', lengthMax: 8 },
        adapter: { method: 'none' },
        training: { localSteps: 1 },
        rounds: { count: 1, quorum: 1, cohortSize: 1, recruitSeconds: 20, trainSeconds: 20 },
        aggregation: { rule: 'fedavg' },
        evaluation: { everyRounds: 0 },
      },
      'the test',
    );
    return startCoordinator({
      plan,
      baseFiles: await readBaseFiles(folder),
      baseDigest: digest,
      layout: fixedLayout(dim),
      initialAdapter: new Float32Array(dim),
      stateFolder: join(world.folder, stateName),
    });
  };
  const partake = async (coordinator: Coordinator, site: string): Promise<string[]> => {
    const invite = await coordinator.invite({ organisation: site });
    const { events, ended } = await world.startClient(site, {}, { learner: loadingLearner(), invite });
    assert.equal((await coordinator.ended).status, 'completed');
    await ended;
    await coordinator.close();
    const problems = events.all.filter(({ type }) => type === 'problem');
    assert.deepEqual(problems, []);
    const downloaded = (event: ClientEvent) => (event.type === 'downloaded' ? [event.what] : []);
    return [...new Set(events.all.flatMap(downloaded))].filter((what) => what.startsWith('base/'));
  };

  it('[SHF-1] every file travels, is checked and kept, and the client computes the digest of the single file', async () => {
    const whole = await describeBase(pretrainedFolder());
    await inFolder(files, async (folder) => {
      assert.equal((await describeBase(folder)).digest, whole.digest);
      const fetched = await partake(await startOn(folder, 'coordinator'), 'site');
      assert.deepEqual(fetched.sort(), [...files.keys()].map((name) => `base/${name}`).sort());
      const content = readdirSync(join(world.folder, 'site', 'content'));
      for (const [name, bytes] of files) assert.ok(content.includes(digestOf(bytes)), name);
    });
  }).timeout(20_000);
});
