import { strict as assert } from 'node:assert';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { readSafetensors, tensorValues, writeSafetensors } from '../../../shared/model/safetensors.ts';
import { type ParitySummary, runParity } from '../../parity/parity.ts';

const allFixtures = join(import.meta.dirname, '..', '..', 'parity', 'fixtures');

/** Runs the suite on WebAssembly alone. */
async function run(fixtures: string, strict = false): Promise<ParitySummary & { readonly lines: readonly string[] }> {
  const lines: string[] = [];
  const summary = await runParity({ fixtures, backends: ['wasm'], strict, print: (line) => lines.push(line) });
  return { ...summary, lines };
}

describe('parity with the reference implementations', () => {
  it('[APR-1] every base and every adapter agrees with Transformers, AdapterHub and PEFT in outputs and gradients', async () => {
    await useBackend('wasm');
    const { lines, failed, missing, passed } = await run(allFixtures);
    assert.deepEqual(
      lines.filter((line) => line.startsWith('FAILED')),
      [],
    );
    assert.ok(passed && failed === 0);
    assert.equal(missing, 0, lines.filter((line) => line.startsWith('missing')).join('\n'));
    const ran = lines.filter((line) => line.startsWith('ok')).length;
    assert.equal(lines.at(-1), `parity: ${ran} run, 0 failed, 0 missing`);
    // Four hosts with 17 cases each, and one for every other folder.
    const folders = (await readdir(allFixtures, { withFileTypes: true })).filter((entry) => entry.isDirectory());
    assert.equal(ran, 4 * 17 + folders.length - 4);
  });

  it('[APR-2] frees its tensors', async () => {
    await useBackend('wasm');
    const before = memory().numTensors;
    await run(allFixtures);
    assert.equal(memory().numTensors, before);
  });
});

describe('parity suite', () => {
  let folder = '';
  const bert = () => join(folder, 'bert');
  const expectedFile = () => join(bert(), 'expected', 'pfeiffer_top_only.safetensors');

  /** The fixtures of one small BERT with one case that runs and one that is missing. */
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-parity-'));
    await mkdir(bert());
    const source = join(allFixtures, 'bert');
    for (const name of ['config.json', 'model.safetensors', 'expected/base.safetensors'])
      await cp(join(source, name), join(bert(), name));
    for (const kind of ['adapters', 'expected']) {
      await cp(
        join(source, kind, 'pfeiffer_top_only.safetensors'),
        join(bert(), kind, 'pfeiffer_top_only.safetensors'),
      );
    }
    const cases = JSON.parse(await readFile(join(source, 'cases.json'), 'utf8')) as Record<string, unknown>;
    const { pfeiffer_top_only } = cases;
    const loreft = { adapters: { a: { architecture: 'reft' } }, active: 'Stack[a]', parameters: 1, fusion: null };
    await cp(join(source, 'adapters', 'pfeiffer_top_only.safetensors'), join(bert(), 'adapters', 'loreft.safetensors'));
    await writeFile(join(bert(), 'cases.json'), JSON.stringify({ pfeiffer_top_only, loreft }));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  type Values = Map<string, { shape: readonly number[]; values: Float32Array }>;
  async function changeExpected(change: (tensors: Values) => void): Promise<void> {
    const { tensors } = readSafetensors(await readFile(expectedFile()), 'expected');
    const values: Values = new Map(
      [...tensors].map(([name, entry]) => [name, { shape: entry.shape, values: tensorValues(entry).slice() }]),
    );
    change(values);
    await writeFile(expectedFile(), writeSafetensors(values));
  }

  const gradient = 'grad.encoder.layer.2.output.adapters.a.adapter_up.weight';

  it('[APR-3] counts what ran, failed and is missing', async () => {
    const { lines, passed } = await run(folder);
    assert.ok(passed);
    assert.equal(lines.at(-1), 'parity: 2 run, 0 failed, 1 missing');
    assert.match(lines[0]!, /^ok +bert\/base +largest error: outputs \d\.\de-\d, gradients none +\(wasm\)$/);
    assert.match(lines[1]!, /^ok +bert\/pfeiffer_top_only +largest error: outputs \d\.\de-\d, gradients \d\.\de-\d/);
    assert.match(lines[2]!, /^missing +bert\/loreft .*config\.architecture must be .*, found "reft"$/);
  });

  it('[APR-4] strict fails where a case is missing', async () => {
    assert.equal((await run(folder, true)).passed, false);
  });

  it('[APR-5] a perturbed gradient or output fails its case and is named', async () => {
    for (const name of [gradient, 'last_hidden_state', 'loss']) {
      await changeExpected((tensors) => {
        tensors.get(name)!.values[0]! += 2e-3;
      });
      const { lines, passed } = await run(folder);
      assert.equal(passed, false);
      assert.equal(lines.at(-1), 'parity: 2 run, 1 failed, 1 missing');
      assert.ok(
        lines.some((line) => line.includes(`wasm: ${name} [`)),
        lines.join('\n'),
      );
    }
  });

  it('[APR-6] a value that is not a number fails', async () => {
    await changeExpected((tensors) => {
      tensors.get(gradient)!.values[3] = Number.NaN;
    });
    const { failed, lines } = await run(folder);
    assert.equal(failed, 1);
    assert.match(lines[1]!, /^FAILED .*gradients NaN/);
  });

  it('[APR-7] sets of gradient names must be equal', async () => {
    await changeExpected((tensors) => tensors.delete(gradient));
    assert.ok((await run(folder)).lines.some((line) => line.endsWith(`the reference has no gradient ${gradient}`)));
    await changeExpected((tensors) => {
      tensors.set(gradient, { shape: [32, 8], values: new Float32Array(256) });
      tensors.set('grad.other', { shape: [1], values: new Float32Array(1) });
    });
    assert.ok((await run(folder)).lines.some((line) => line.endsWith('no gradient grad.other was computed')));
  });

  const damages: readonly [string, () => Promise<unknown>, RegExp][] = [
    [
      'expected outputs',
      () => writeFile(expectedFile(), 'cut'),
      /pfeiffer_top_only[\s\S]*is not a valid safetensors file/,
    ],
    ['an adapter', () => rm(join(bert(), 'adapters'), { recursive: true }), /pfeiffer_top_only[\s\S]*no such file/],
    ['the list of cases', () => rm(join(bert(), 'cases.json')), /FAILED +bert\/cases\.json[\s\S]*no such file/],
    [
      'a case without settings',
      () => writeFile(join(bert(), 'cases.json'), '{}'),
      /FAILED +bert\/pfeiffer_top_only[\s\S]*is no object/,
    ],
    [
      'the base',
      () => writeFile(join(bert(), 'model.safetensors'), 'cut'),
      /FAILED +bert\/base[\s\S]*FAILED +bert\/pfeiffer_top_only/,
    ],
    ['the configuration', () => writeFile(join(bert(), 'config.json'), '{'), /FAILED +bert\/base[\s\S]*is not JSON/],
    ['everything', () => rm(bert(), { recursive: true }), /^parity: 0 run, 0 failed, 0 missing$/],
    [
      'the folder itself',
      () => rm(folder, { recursive: true }),
      /no fixtures in .*\nparity: 0 run, 0 failed, 0 missing$/,
    ],
  ];
  for (const [what, damage, message] of damages) {
    it(`[APR-8] what should run but cannot be read is a failure (${what})`, async () => {
      await damage();
      const { passed, lines } = await run(folder);
      assert.equal(passed, false);
      assert.match(lines.join('\n'), message);
    });
  }

  it('[APR-9] a family that this version lacks makes its cases missing', async () => {
    const file = join(bert(), 'config.json');
    await writeFile(file, (await readFile(file, 'utf8')).replace('"model_type": "bert"', '"model_type": "newbert"'));
    const { lines, passed } = await run(folder);
    assert.equal(lines.at(-1), 'parity: 0 run, 0 failed, 3 missing');
    assert.match(lines[0]!, /^missing +bert\/base +family newbert/);
    assert.equal(passed, false);
  });
});
