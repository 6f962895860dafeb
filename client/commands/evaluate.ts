/** `tributary evaluate`: the metrics of an adapter folder on labelled rows. */
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { readRows } from '../../shared/data/rows.node.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import { metricsText } from './metrics-text.ts';
import { addColumnOptions, addComputeOptions, type ColumnOptions, type ComputeOptions } from './options.ts';

interface EvaluateOptions extends ComputeOptions, ColumnOptions {
  readonly adapter: string;
  readonly base?: string;
  readonly data: string;
}

/** What `evaluate` reports. */
export interface EvaluateReport extends Metrics {
  readonly adapter: string;
  readonly modelHash: string;
  readonly base: { readonly digest: string; readonly family: string };
  readonly data: string;
  /** Texts that were cut to the adapter's longest length. */
  readonly truncated: number;
  readonly backend: string;
  readonly seconds: number;
}

/** Adds `evaluate`. */
export function register(program: Command, context: CommandContext): void {
  const command = program
    .command('evaluate')
    .requiredOption('--adapter <folder>', 'the adapter, as train and adapters export write it')
    .requiredOption('--data <file>', 'labelled rows (.jsonl or .csv, plain or .gz)')
    .option('--base <folder>', 'the base model that the adapter was trained on (default: the one that ships)');
  addComputeOptions(addColumnOptions(command)).action(async (options: EvaluateOptions) => {
    const report = await evaluateAdapter(options, context);
    context.report(report, reportText(report));
  });
}

async function evaluateAdapter(options: EvaluateOptions, context: CommandContext): Promise<EvaluateReport> {
  const [{ readyBase }, { readAdapterFolder }, { adapterOnBase }, { createClassifier }, { encodeRows }, { measure }] =
    await Promise.all([
      import('./base.ts'),
      import('../../shared/adapters/adapter-folder.node.ts'),
      import('../../shared/adapters/document-on-base.ts'),
      import('../../shared/training/classifier.ts'),
      import('../../shared/data/encode.ts'),
      import('./training.ts'),
    ]);
  const rows = await readRows(options.data, { text: options.textColumn, label: options.labelColumn });
  const document = await readAdapterFolder(options.adapter);
  const { model, tokenizer, backend } = await readyBase(options, context);
  const { labels, pooling, lengthMax } = document.task;
  const adapter = adapterOnBase(document, model.description);
  const classifier = createClassifier({ base: model, adapter, labels, pooling, padId: tokenizer.padId });
  const { examples, truncatedCount } = encodeRows(rows, { tokenizer, labels, lengthMax });
  const startedMs = performance.now();
  const metrics = await measure({ classifier, parameters: document.parameters, examples }, context);
  model.dispose();
  return {
    adapter: options.adapter,
    modelHash: document.modelHash,
    base: document.base,
    data: options.data,
    ...metrics,
    truncated: truncatedCount,
    backend: backend.name,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

function reportText(report: EvaluateReport): string {
  const cut = report.truncated === 0 ? '' : ` (${report.truncated} texts cut)`;
  return `${report.adapter} on ${report.data}${cut}: ${metricsText(report)}`;
}
