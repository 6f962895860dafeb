/** `tributary generate`: text that a causal base writes after a prompt, alone or with an adapter: enough to see what an adapter learned. */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { Generation } from '../../shared/model/generate.ts';
import type { Sampling } from '../../shared/model/sampling.ts';
import { addBaseComputeOptions, type BaseComputeOptions, numberIn, wholeNumber } from './options.ts';

interface GenerateOptions extends BaseComputeOptions {
  readonly base?: string;
  readonly adapter?: string;
  readonly prompt: string;
  readonly chat?: boolean;
  readonly lengthMax: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly seed: number;
}

/** What `generate` reports. */
export interface GenerateReport {
  readonly prompt: string;
  /** What was added to the prompt. */
  readonly text: string;
  /** Why it ended: the token that ends texts, the asked length, or no positions left. */
  readonly ending: Generation['ending'];
  readonly tokens: { readonly prompt: number; readonly added: number };
  readonly base: { readonly digest: string; readonly family: string };
  /** Folder and hash of the adapter; null for the base alone. */
  readonly adapter: { readonly folder: string; readonly modelHash: string } | null;
  readonly sampling: { readonly temperature: number; readonly topP: number | null; readonly topK: number | null };
  readonly seed: number;
  readonly backend: string;
  /** From the first step to the last token. */
  readonly seconds: number;
}

/** Adds `generate`. */
export function register(program: Command, context: CommandContext): void {
  const command = program
    .command('generate')
    .requiredOption('--prompt <text>', 'what the text begins with')
    .option('--base <folder>', 'the base model, a folder or hf:owner/name@revision (default: the one that ships)')
    .option('--adapter <folder>', 'an adapter, as train and adapters export write it (default: the base alone)')
    .option('--chat', "take the prompt as a user's message and write it as the base's chat template says")
    .option('--length-max <tokens>', 'longest answer', wholeNumber(1), 100)
    .option(
      '--temperature <number>',
      '0 takes the best token always, more lets chance decide (default: 0, with --top-p or --top-k 1)',
      numberIn({ atLeast: 0 }),
    )
    .addOption(
      new Option('--top-p <share>', 'only the best tokens that together come to this share').argParser(
        numberIn({ above: 0 }),
      ),
    )
    .option('--top-k <count>', 'only the best tokens, this many', wholeNumber(1))
    .option('--seed <number>', 'decides what chance draws', wholeNumber(0), 1);
  addBaseComputeOptions(command).action(async (options: GenerateOptions) => {
    const report = await generateText(options, context);
    // The text is out already, as it came.
    context.report(report, '');
  });
}

async function generateText(options: GenerateOptions, context: CommandContext): Promise<GenerateReport> {
  const [{ readyBase }, { readAdapterFolder }, { documentHooks }, { writeText }, { seededRandom }, { nextTurn }] =
    await Promise.all([
      import('./base.ts'),
      import('../../shared/adapters/adapter-folder.node.ts'),
      import('../../shared/adapters/document-hooks.ts'),
      import('../../shared/model/write-text.ts'),
      import('../../shared/core/random.ts'),
      import('../../shared/training/turn.ts'),
    ]);
  const sampling = samplingOf(options);
  const document = options.adapter === undefined ? null : await readAdapterFolder(options.adapter);
  const { model, tokenizer, backend } = await readyBase(options, context);
  const kind = document?.task.kind ?? 'causal';
  if (kind !== 'causal')
    context.log(
      `the adapter of ${options.adapter} learned the task ${kind}, not to write: expect no better text than the base's`,
    );
  const adapter = document === null ? null : documentHooks(document, model.description);
  const startedMs = performance.now();
  const { text, ending, tokens } = await writeText({
    model,
    tokenizer,
    ...(adapter === null ? {} : { hooksOf: adapter.hooksOf }),
    prompt: options.prompt,
    chat: options.chat,
    lengthMax: options.lengthMax,
    sampling,
    random: seededRandom(options.seed, 'generate'),
    onPiece: (piece) => {
      context.reportPart(piece);
      return nextTurn();
    },
    signal: context.signal,
  });
  const seconds = (performance.now() - startedMs) / 1000;
  adapter?.dispose();
  const { digest, family } = model.description;
  model.dispose();
  return {
    prompt: options.prompt,
    text,
    ending,
    tokens,
    base: { digest, family },
    adapter: document === null ? null : { folder: options.adapter!, modelHash: document.modelHash },
    sampling: { temperature: sampling.temperature, topP: sampling.topP ?? null, topK: sampling.topK ?? null },
    seed: options.seed,
    backend: backend.name,
    seconds,
  };
}

function samplingOf({ temperature, topP, topK }: GenerateOptions): Sampling {
  const narrows = topP !== undefined || topK !== undefined;
  if (temperature === 0 && narrows) {
    throw new UsageError(
      'nothing-to-draw',
      '--temperature 0 takes the best token always, so --top-p and --top-k have no effect; leave them out, or raise the temperature',
    );
  }
  return { temperature: temperature ?? (narrows ? 1 : 0), topP, topK };
}
