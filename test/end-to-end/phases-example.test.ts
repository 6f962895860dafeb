/** The example of a plan of phases, run whole without sockets on a small base: every phase trains, and its schedule runs over its own rounds. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { taskLearner } from '../../client/task-learner.ts';
import { placesOf, planOfVersion } from '../../coordinator/library/places.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { bytesOf, float32Of, toHex } from '../../shared/core/bytes.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { readPlan } from '../../shared/plan/read-plan.node.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { unflatten } from '../../shared/update/vector.ts';
import { closeWorlds, startWorld } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, runClient } from './memory-federation.ts';

const example = new URL('../../shared/plan/examples/phases.yaml', import.meta.url).pathname;
const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, organisationsMin: 1 }, 'the test');
const labels = { routing: ['billing', 'delivery', 'other'], urgency: ['low', 'high'] } as const;

/** Rows of both tasks in one file, as the example says. */
const rowsOf = (site: number) =>
  viewsOf(
    Array.from({ length: 16 }, (_, index) => {
      const task = index % 2 === 0 ? 'routing' : 'urgency';
      const known = labels[task];
      const label = known[(index >> 1) % known.length]!;
      return { text: `${label[0]}${site}${label[1]}`, label, task };
    }),
  );

describe('the example of phases', () => {
  let folder = '';
  before(async () => {
    await useBackend('wasm');
    folder = mkdtempSync(join(tmpdir(), 'tributary-phases-example-'));
    await writeTinyBase(folder);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  it('[PHX-1] runs to its end; a part that is frozen for a share of the phase begins to learn within it', async () => {
    const base = await describeBase(folder);
    const { phase: _, ...written } = await readPlan(example);
    // Whoever asks everybody gathers for a while first, by a clock that only tests move.
    const phases = written.phases!.map(({ task, rounds, ...phase }) => ({
      ...phase,
      task: { ...task, lengthMax: base.positionsMax },
      rounds: { ...rounds, cohortSize: 3 },
    }));
    const changes = { base: { digest: base.digest }, evaluation: { everyRounds: 0 } };
    const document = parsePlan({ ...written, phases, ...changes }, example);
    const world = await startWorld(await prepareFederation(document, folder, example));
    const ended: Promise<unknown>[] = [];
    for (const site of [0, 1, 2]) {
      const learner = taskLearner({ train: rowsOf(site), heldOut: [], columns: { part: 'task' }, backend: 'wasm' });
      ended.push((await runClient(world, { platform: platformIn(world, 700 + site), learner, policy })).ended);
    }
    const end = await world.coordinator.ended;
    assert.equal(end.status, 'completed', end.detail);
    await Promise.all(ended);

    const versions = await world.coordinator.library();
    const places = placesOf(versions.map(({ record }) => record));
    const counts = [0, 1, 2].map((phase) => places.filter(({ index }) => index === phase).length);
    assert.deepEqual(counts, [7, 7, 5]);
    const adapters = await Promise.all(versions.map(({ row }) => world.coordinator.adapter(row)));
    const rows = versions.map(({ row }) => row);
    /** Which tensors a round of the last phase changed, by the word before their first dot. */
    const changed = (version: number): readonly string[] => {
      const { layout } = planAdapters(planOfVersion(document, places[version]!, rows), base).published;
      const [before, after] = [version - 1, version].map((place) => unflatten(layout, float32Of(adapters[place]!)));
      const moved = [...before!].filter(
        ([name, values]) => toHex(bytesOf(values)) !== toHex(bytesOf(after!.get(name)!)),
      );
      return [...new Set(moved.map(([name]) => name.split('.')[0]!))];
    };
    assert.deepEqual(changed(15), ['head']);
    for (const version of [16, 17, 18]) assert.deepEqual(changed(version), ['fusion', 'head']);
    for (const version of [6, 13]) assert.deepEqual(changed(version), ['layers', 'head']);
  });
});
