/** The documentation of local training holds plans that are correct, and names every strategy. */
import { strict as assert } from 'node:assert';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readPlan } from '../../../shared/plan/read-plan.node.ts';
import { trainingSchema } from '../../../shared/plan/training.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { root } from '../../house-rules/sources.ts';
import { minimalPlan } from '../plan/minimal-plan.ts';

describe('documentation of local training', () => {
  it('[TRD-1] holds examples that plans accept', async () => {
    const text = await readFile(join(root, 'shared/training/README.md'), 'utf8');
    const examples = /```yaml\n([\s\S]*?)```/.exec(text)![1]!.split('---\n');
    assert.ok(examples.length >= 7);
    const { training: _, ...plan } = minimalPlan() as Record<string, unknown>;
    const folder = await mkdtemp(join(tmpdir(), 'tributary-training-readme-'));
    for (const example of examples) {
      const path = join(folder, 'plan.yaml');
      const rest = Object.entries(plan).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
      await writeFile(path, `${rest.join('\n')}\n${example}`);
      const { training } = await readPlan(path);
      assert.notDeepEqual({ ...training, seed: 1 }, { ...defaultTraining, seed: 1 }, example);
    }
    await rm(folder, { recursive: true });
  });

  it('[TRD-2] names every strategy that plans have', async () => {
    const text = await readFile(join(root, 'shared/training/README.md'), 'utf8');
    const plain = [...Object.keys(defaultTraining), 'localSteps', 'seed'];
    const strategies = Object.keys(trainingSchema.shape).filter((name) => !plain.includes(name));
    assert.ok(strategies.length >= 6, strategies.join());
    for (const name of strategies) assert.ok(text.includes(name), name);
  });
});
