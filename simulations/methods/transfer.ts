/**
 * Transfer between languages on xsid (Pfeiffer 2020b, MAD-X): intents are learned in some languages and asked for in others, of which no labelled
 * row is seen. `language-adapters` first trains, for every language, an invertible adapter with a bottleneck on unlabelled texts of that language
 * (the base is a decoder, so by predicting the next token), then a task adapter above those of the source languages, which stay as they are;
 * where a text of another language is classified, that language's adapter is put below the same task adapter.
 */
import { join } from 'node:path';
import type { Row } from '../../shared/data/row.ts';
import { labelsOf } from '../../shared/data/row.ts';
import { readRows } from '../../shared/data/rows.node.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { Task } from '../../shared/plan/task.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import type { TaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { unflatten } from '../../shared/update/vector.ts';
import { drawRows } from '../experiments/data.ts';
import type { CellProgress } from '../experiments/run-cell.ts';
import { bindModel, sourceOf, trainTask } from './train-task.ts';

/** What is compared. */
export const transferMethods = ['probe', 'task-adapter', 'language-adapters'] as const;

/** One method and seed. */
export interface TransferCell {
  readonly method: (typeof transferMethods)[number];
  readonly seed: number;
  readonly settings: TransferSettings;
}

/** Settings of one run. */
export interface TransferSettings {
  /** Languages with labelled rows, and those without: values of the column `client`. */
  readonly sources: readonly string[];
  readonly targets: readonly string[];
  /** Rows of each language, at most. */
  readonly rows: number;
  readonly testRows: number;
  /** Passes over the labelled rows, and over the unlabelled texts of each language. */
  readonly passes: number;
  readonly languagePasses: number;
  readonly lengthMax: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly languageLearningRate: number;
}

/** Accuracy by language. */
export interface TransferResult {
  readonly cell: TransferCell;
  /** Mean over the target languages. */
  readonly accuracy: number;
  readonly byLanguage: Readonly<Record<string, number>>;
}

/** Names a cell. */
export function transferKey({ method, seed, settings }: TransferCell): string {
  return JSON.stringify([method, seed, settings]);
}

/** Values of an adapter by layout name. */
type Values = ReadonlyMap<string, Float32Array>;

const languageAdapter = {
  method: 'stack',
  members: [
    { id: 'inputs', method: 'invertible' },
    { id: 'blocks', method: 'bottleneck', reductionFactor: 2 },
  ],
} as const satisfies Plan['adapter'];

const adapters: Readonly<Record<TransferCell['method'], Plan['adapter']>> = {
  probe: { method: 'none' },
  'task-adapter': { method: 'bottleneck' },
  'language-adapters': {
    method: 'stack',
    members: [
      { id: 'language', frozen: true, ...languageAdapter },
      { id: 'task', method: 'bottleneck' },
    ],
  },
};

/** What {@link runTransfer} needs. */
export interface RunTransferOptions {
  readonly cell: TransferCell;
  /** The data directory. */
  readonly folder: string;
  readonly base: LoadedBase;
  readonly onProgress: (progress: CellProgress) => void;
}

/** The result of a cell. @throws as the readers and the training do. */
export async function runTransfer({ cell, folder, base, onProgress }: RunTransferOptions): Promise<TransferResult> {
  const { method, seed, settings } = cell;
  const { sources, targets, lengthMax } = settings;
  const read = (part: string) =>
    readRows(join(folder, 'xsid', `${part}.jsonl.gz`), { text: 'text', label: 'label', group: 'client' });
  const [train, test] = [await read('train'), await read('test')];
  const languages = [...sources, ...targets];
  const learned = method === 'language-adapters' ? languages.length : 0;
  const total = learned + sources.length * settings.passes;
  let done = 0;
  const step = (note: string): void => onProgress({ done: ++done, total, note });
  const below = new Map<string, Values>();
  if (method === 'language-adapters') {
    for (const language of languages) {
      below.set(language, await learnLanguage(base, of(train, language, settings.rows, seed), cell));
      step(language);
    }
  }
  const labels = labelsOf(train);
  const model = bindModel(base, adapters[method], { kind: 'classification', labels, pooling: 'mean', lengthMax });
  let parameters = model.initialise(seed);
  const put = (language: string): void => {
    const tensors = unflatten(model.layout, parameters);
    for (const [name, values] of below.get(language) ?? []) tensors.get(`language.${name}`)!.set(values);
  };
  const clients = sources.map((language) => ({
    language,
    source: sourceOf(model, base, of(train, language, settings.rows, seed)),
  }));
  const count = settings.passes * clients.length;
  for (let index = 0; index < count; index++) {
    const { language, source } = clients[index % clients.length]!;
    put(language);
    const trained = await trainLocally({
      model,
      start: parameters,
      source,
      configuration: trainingAt(settings),
      seed: seed + index,
      round: { index, count },
    });
    parameters = trained.parameters;
    step(`${language}, loss ${trained.meanLoss.toFixed(3)}`);
  }
  const byLanguage: Record<string, number> = {};
  for (const language of languages) {
    put(language);
    const source = sourceOf(model, base, of(test, language, settings.testRows, 0));
    byLanguage[language] = (await evaluate({ model, parameters, source })).accuracy;
  }
  const accuracy = targets.reduce((sum, language) => sum + byLanguage[language]!, 0) / targets.length;
  return { cell, accuracy, byLanguage };
}

function trainingAt({ batchSize, learningRate }: TransferSettings) {
  return { ...defaultTraining, localEpochs: 1, batchSize, learningRate, schedule: 'linear' } as const;
}

/** At most `count` rows of a language. */
function of(rows: readonly Row[], language: string, count: number, seed: number): Row[] {
  return drawRows(
    rows.filter(({ group }) => group === language),
    count,
    seed,
  );
}

/** An adapter of a language from texts alone; as the base has it where training diverged. */
async function learnLanguage(
  base: LoadedBase,
  rows: readonly Row[],
  { seed, settings }: TransferCell,
): Promise<Values> {
  const { lengthMax, languagePasses: epochs, languageLearningRate: learningRate, batchSize } = settings;
  const task: Task = { kind: 'causal', lengthMax };
  const model: TaskModel = bindModel(base, languageAdapter, task);
  const source = sourceOf(model, base, rows);
  const { parameters } = await trainTask({ model, source, epochs, batchSize, learningRate, seed });
  return unflatten(model.layout, parameters ?? model.initialise(seed));
}
