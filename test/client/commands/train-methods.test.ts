/** What some methods and strategies have of their own on the command line: `train` and `evaluate` on a tiny base. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import type { SiteRouting } from '../../../shared/adapters/routing-statistics.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { run } from './commands.ts';

describe('methods on the command line', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-methods-'));
    await writeTinyBase(at('base'));
    const rows = Array.from({ length: 32 }, (_, index) => {
      const isEarly = index % 2 === 0;
      const text = `${isEarly ? 'abc' : 'xyz'}${index % 7}`;
      return JSON.stringify({ text, label: isEarly ? 'early' : 'late', language: index % 4 < 2 ? 'de' : 'fr' });
    });
    await writeFile(at('rows.jsonl'), rows.join('\n'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const where = (): string[] => ['--base', at('base'), '--backend', 'wasm'];
  const training = (out: string, ...argv: string[]): string[] => {
    const rows = ['--train', at('rows.jsonl'), '--held-out-fraction', '0', '--out', at(out)];
    return ['train', ...where(), ...rows, '--epochs', '4', '--batch-size', '8', '--learning-rate', '0.02', ...argv];
  };
  const measuring = (adapter: string, ...argv: string[]): string[] => {
    return ['evaluate', ...where(), '--adapter', at(adapter), '--data', at('rows.jsonl'), ...argv];
  };
  const reported = async (argv: readonly string[]) => {
    const { code, output, errors } = await run([...argv, '--json']);
    assert.equal(code, 0, errors);
    return JSON.parse(output);
  };
  const values = async (name: string) => (await readAdapterFolder(at(name))).parameters;

  const total = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

  it('[TRM-1] a mixture: both commands say by site how it routes, and what overflows in training alone', async () => {
    const config = { size: 2, experts: 4, choices: 1, placement: 'houlsby', capacityFactor: 0.5 };
    const argv = ['--adapter', 'mixture', '--adapter-config', JSON.stringify(config)];
    const trained = await reported(training('mixture', ...argv));
    const measured = await reported(measuring('mixture'));
    for (const [routing, isLimited] of [
      [trained.routing, true],
      [measured.routing, false],
    ] as [SiteRouting[], boolean][]) {
      assert.deepEqual(
        routing.map(({ site }) => site),
        ['layers.0.attention', 'layers.0.feedForward'],
      );
      for (const { shares, probabilities, evenness, droppedShare, unused } of routing) {
        assert.equal(shares.length, 4);
        assert.ok(Math.abs(total(shares) - 1) < 1e-9 && Math.abs(total(probabilities!) - 1) < 1e-5);
        assert.ok(evenness >= 0 && evenness <= 1);
        assert.deepEqual(
          unused,
          shares.flatMap((share, expert) => (share === 0 ? [expert] : [])),
        );
        // A text of n tokens has room for at most 4 ⌈n / 8⌉ of its n choices.
        if (isLimited) assert.ok(droppedShare! > 0 && droppedShare! < 1, `${droppedShare}`);
        else assert.equal(droppedShare, 0);
      }
    }
    const people = await run(measuring('mixture'));
    assert.match(
      people.output,
      /routing +of all tokens, by expert:\n +layers\.0\.attention +(\d+\.\d %[, ] ?){4}evenness [01]\.\d{3}, dropped 0\.0 %/,
    );
    const spoken = await run(training('mixture-spoken', ...argv));
    assert.match(spoken.output, /routing +of the tokens of all steps, by expert:\n +layers\.0\.attention +.*dropped/);
  });

  it('[TRM-2] what routes nothing says nothing of it', async () => {
    const trained = await run(training('plain', '--adapter', 'lora'));
    assert.equal(trained.code, 0, trained.errors);
    assert.ok(!trained.output.includes('routing'));
    assert.deepEqual((await reported(measuring('plain'))).routing, []);
  });

  it('[TRM-3] a hypernetwork: trained by part, measured for each task and for tasks in between', async () => {
    const config = { tasks: ['de', 'fr'], embeddingSize: 4, reductionFactor: 4 };
    const argv = ['--adapter', 'hyperformer', '--part-column', 'language'];
    await reported(training('tasks', ...argv, '--adapter-config', JSON.stringify(config)));
    const lossFor = async (task: string): Promise<number> =>
      (await reported(measuring('tasks', '--adapter-task', task))).loss;
    const [german, french] = [await lossFor('de'), await lossFor('fr')];
    assert.notEqual(german, french);
    assert.equal(await lossFor('de=1,fr=0'), german);
    assert.equal(await lossFor('fr=1'), french);
    const between = await lossFor('de=0.5,fr=0.5');
    assert.ok(between !== german && between !== french);
    const refused = await run(measuring('tasks', '--adapter-task', 'de=0.5,fr=0.6'));
    assert.equal(refused.code, 2);
    assert.match(
      refused.errors,
      /weights over tasks must be numbers of at least 0 that sum to 1.*found de=0\.5,fr=0\.6/,
    );
    // The same point, as a configuration has it: an adapter that trains for a task in between.
    const mixed = JSON.stringify({ ...config, task: { de: 0.5, fr: 0.5 } });
    const half = await reported(training('between', '--adapter', 'hyperformer', '--adapter-config', mixed));
    assert.ok(half.trainLoss > 0);
    const { loss } = await reported(measuring('between'));
    assert.equal((await reported(measuring('between', '--adapter-task', 'de=0.5,fr=0.5'))).loss, loss);
  });

  it('[TRM-4] an adapter for each example by its own tokens learns, and needs no tasks', async () => {
    const config = { task: 'instance', embeddingSize: 4, reductionFactor: 4 };
    await reported(training('instance', '--adapter', 'hyperformer', '--adapter-config', JSON.stringify(config)));
    const { layout } = await readAdapterFolder(at('instance'));
    assert.ok(layout.tensors.some(({ name }) => name === 'hypernetwork.instance.kernel'));
    assert.ok(!layout.tensors.some(({ name }) => name.startsWith('hypernetwork.tasks.')));
    assert.ok((await reported(measuring('instance'))).accuracy > 0.9);
  });

  it('[TRM-5] adversarial training by FGM and by PGD: other values than plain training, the same each time, and they learn', async () => {
    const trainedWith = async (out: string, adversarial: object | undefined): Promise<Float32Array> => {
      const strategy = adversarial === undefined ? [] : ['--training-config', JSON.stringify({ adversarial })];
      await reported(training(out, '--adapter', 'bottleneck', '--adapter-config', '{"size":3}', ...strategy));
      assert.ok((await reported(measuring(out))).accuracy > 0.9, out);
      return values(out);
    };
    const plain = await trainedWith('no-adversary', undefined);
    const fgm = await trainedWith('fgm', { method: 'fgm', radius: 0.1 });
    const pgd = await trainedWith('pgd', { method: 'pgd', radius: 0.1, steps: 3 });
    assert.notDeepEqual(fgm, plain);
    assert.notDeepEqual(pgd, plain);
    assert.notDeepEqual(pgd, fgm);
    assert.deepEqual(await trainedWith('fgm-again', { method: 'fgm', radius: 0.1 }), fgm);
  });
});
