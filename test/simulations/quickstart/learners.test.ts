import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeBase } from '../../../shared/model/load.node.ts';
import { runJobs } from '../../../simulations/quickstart/learners.ts';
import { makePlan } from '../../../simulations/quickstart/plans.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';

describe('trainings without a federation', function () {
  this.timeout(60_000);
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-learners-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('[QLN-1] make as many steps as a site of the federation, which counts the pieces of a long text', async () => {
    const baseFolder = join(folder, 'base');
    await writeTinyBase(baseFolder);
    const base = await describeBase(baseFolder);
    const options = { rounds: 2, localEpochs: 1, clientCount: 2, seed: 1 };
    const task = { kind: 'causal', lengthMax: 8 } as const;
    const plan = makePlan({ name: 'long texts', adapter: 'lora', trainer: 'site alone', base, task, options });
    const file = join(folder, 'texts.jsonl');
    // Two texts of about 40 tokens: more pieces than the eight rows of a batch.
    writeFileSync(file, `${JSON.stringify({ text: 'a'.repeat(40) })}\n${JSON.stringify({ text: 'b'.repeat(40) })}\n`);
    let stepCount = 0;
    const [outcome] = await runJobs({
      jobs: [{ name: 'alone', plan, task: { kind: 'train', trainFiles: [file], rowCount: 2 } }],
      processCount: 1,
      baseFolder,
      testFile: file,
      testGroups: [[0, 1]],
      heldOutFiles: [file],
      compute: { backend: 'wasm', threads: 1 },
      metric: 'perplexity',
      signal: new AbortController().signal,
      onStep: (stepsDone) => {
        stepCount = stepsDone;
      },
    });
    assert.equal(stepCount, 4, 'two batches of pieces in each of two rounds');
    assert.equal(outcome?.curve.length, 2);
    assert.ok(outcome.counts[0]!.exampleCount > 8);
  });
});
