import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register } from '../../../client/commands/generate.ts';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { writeAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { taskLayout } from '../../../shared/training/initial-adapter.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

async function generate(...argv: string[]) {
  const terminal = fakeTerminal();
  const groups = [{ commands: { generate: 'generate' }, load: async () => ({ register }) }];
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv: ['generate', ...argv], version: '0', terminal, signal });
  return { code, pieces: terminal.output, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('generate, the command', () => {
  let folder = '';
  let base = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-generate-'));
    base = await writeTinyBase(join(folder, 'base'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const tiny = (...argv: string[]) =>
    generate('--base', base, '--backend', 'cpu', '--prompt', 'a b', '--length-max', '6', ...argv);

  /** Writes a LoRA with random values, trained on nothing. */
  async function writeAdapter(name: string, task: Task = { kind: 'causal', lengthMax: 16 }): Promise<string> {
    const description = await describeBase(base);
    const adapter = parseAdapter({ method: 'lora', targets: 'all-linear', rank: 2 }, description);
    const layout = taskLayout(adapter, description, task);
    const random = seededRandom(3);
    const parameters = Float32Array.from({ length: layout.dim }, () => random.normal());
    const settings = { adapter: adapter.configuration, task, layout, parameters };
    await writeAdapterFolder(join(folder, name), createAdapterDocument({ base: description, ...settings }));
    return join(folder, name);
  }

  it('[GNC-1] prints the text as it comes, and nothing else, on standard output', async () => {
    const { code, pieces, output, errors } = await tiny('--temperature', '1');
    assert.equal(code, 0, errors);
    assert.ok(pieces.length > 2, `the text came in ${pieces.length} pieces`);
    assert.match(errors, /^base .* \(gpt2, 1 layers of 16\) on cpu\n$/);
    const { output: json } = await tiny('--temperature', '1', '--json');
    assert.equal(output, `${(JSON.parse(json) as { text: string }).text}\n`);
  });

  it('[GNC-9] says so where an adapter did not learn to write', async () => {
    const tokens = await writeAdapter('tagger', { kind: 'tokens', labels: ['O', 'B-X'], lengthMax: 16 });
    const { code, errors } = await tiny('--adapter', tokens);
    assert.equal(code, 0, errors);
    assert.match(errors, /tagger learned the task tokens, not to write/);
    assert.doesNotMatch((await tiny('--adapter', await writeAdapter('writer'))).errors, /not to write/);
  });

  it('[GNC-2] gives exactly one document with --json', async () => {
    const { code, pieces } = await tiny('--json', '--top-k', '5', '--seed', '9');
    assert.equal(code, 0);
    assert.equal(pieces.length, 1);
    const { seconds, base: used, ...report } = JSON.parse(pieces[0]!);
    assert.ok(seconds > 0);
    assert.equal(used.family, 'gpt2');
    const { text, ...facts } = report;
    assert.equal(typeof text, 'string');
    assert.deepEqual(facts, {
      prompt: 'a b',
      ending: 'length',
      // A byte each, and the space that the tokenizer puts before the first.
      tokens: { prompt: 4, added: 6 },
      adapter: null,
      sampling: { temperature: 1, topP: null, topK: 5 },
      seed: 9,
      backend: 'cpu',
    });
  });

  it('[GNC-3] writes with an adapter, which is refused on another base', async () => {
    const adapter = await writeAdapter('adapter');
    const plain = JSON.parse((await tiny('--json')).output);
    const { code, output, errors } = await tiny('--json', '--adapter', adapter);
    assert.equal(code, 0, errors);
    const adapted = JSON.parse(output);
    assert.equal(adapted.adapter.folder, adapter);
    assert.match(adapted.adapter.modelHash, /^[0-9a-f]{64}$/);
    assert.notEqual(adapted.text, plain.text);
    assert.deepEqual(adapted.sampling, { temperature: 0, topP: null, topK: null });
    const other = await writeTinyBase(join(folder, 'other'), 2);
    const refused = await generate(
      '--base',
      other,
      '--adapter',
      adapter,
      '--backend',
      'cpu',
      '--prompt',
      'a',
      '--json',
    );
    assert.equal(refused.code, 2);
    assert.equal(JSON.parse(refused.output).error.code, 'wrong-base');
  });

  it('[GNC-4] draws the same text from the same seed', async () => {
    const drawn = async (seed: string) => (await tiny('--temperature', '2', '--seed', seed)).output;
    assert.equal(await drawn('4'), await drawn('4'));
    assert.notEqual(await drawn('4'), await drawn('5'));
  });

  it('[GNC-5] names what is wrong, what is allowed and what to do', async () => {
    for (const [argv, expected] of [
      [['--top-p', '0'], /--top-p .* Expected a number above 0/],
      [['--temperature', '-1'], /Expected a number of at least 0/],
      [['--temperature', '0', '--top-k', '3'], /--top-p and --top-k have no effect/],
      [['--chat'], /no chat_template in tokenizer_config\.json; leave out --chat/],
      [['--prompt', 'x'.repeat(40)], /the prompt has 41 tokens, of 32 that this gpt2 covers; shorten it/],
      [['--prompt', ''], /the prompt is empty/],
    ] as const) {
      const { code, errors, output } = await tiny(...argv);
      assert.equal(code, 2, errors);
      assert.match(errors, expected);
      assert.equal(output, '');
    }
    assert.match((await generate('--backend', 'cpu')).errors, /required option '--prompt <text>' not specified/);
  });

  it('[GNC-7] writes the prompt as the chat template of the base says', async () => {
    const chatty = await writeTinyBase(join(folder, 'chatty'));
    const template =
      '{% for turn in messages %}[{{ turn.role }}]{{ turn.content }}{% endfor %}{% if add_generation_prompt %}[bot]{% endif %}';
    writeFileSync(join(chatty, 'tokenizer_config.json'), JSON.stringify({ chat_template: template }));
    const { code, output, errors } = await generate(
      ...['--base', chatty, '--backend', 'cpu', '--prompt', 'hi', '--chat', '--length-max', '2', '--json'],
    );
    assert.equal(code, 0, errors);
    // A byte each, and the space that the tokenizer puts before the first.
    assert.equal(JSON.parse(output).tokens.prompt, ' [user]hi[bot]'.length);
  });

  it('[GNC-6] writes English on the base that ships', async () => {
    const { code, output, errors } = await generate('--prompt', 'The patient should', '--length-max', '20');
    assert.equal(code, 0, errors);
    const words = output.trim().split(/\s+/);
    assert.ok(words.length >= 8, output);
    assert.ok(
      words.filter((word) => /^(the|a|an|be|is|in|of|to|and|or|that|with|have)$/i.test(word)).length >= 3,
      output,
    );
  });
});
