/** The rows of one seed of the table of attacks, as examples: of every client, of the operator, to measure on, and those that attacks train on. */
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { ExampleSource } from '../../shared/data/example-source.ts';
import type { Row } from '../../shared/data/row.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import { createActivationCache } from '../../shared/training/activation-cache.ts';
import { encodeRows } from '../../shared/training/encode-rows.ts';
import { createTaskModel, type TaskModel } from '../../shared/training/task-model.ts';
import { readSet } from '../experiments/data.ts';
import type { AttackCell } from './table-cells.ts';
import { adapter, trigger } from './table-settings.ts';

/** Everything that a federation of the table reads. */
export interface AttackRows {
  readonly model: TaskModel;
  readonly clients: readonly { readonly rows: ExampleSource }[];
  /** Clean rows of the operator, for FLTrust and for the gate; nobody else has them. */
  readonly root: ExampleSource;
  readonly canary: ExampleSource;
  readonly test: ExampleSource;
  /** Rows to measure on that hold the trigger and are of other intents, with the intent of the backdoor as their label. */
  readonly triggered: ExampleSource;
  /** Rows of hostile clients with labels turned around. */
  readonly flipped: ExampleSource;
  /** Rows of hostile clients, and the same with the trigger and the intent of the backdoor. */
  readonly poisoned: ExampleSource;
}

/** Every seed has intents of its own, as far as they go; out of scope is none: it has few rows to train on and many to measure on. */
export function intentsOf(labels: readonly string[], seed: number, count: number): readonly string[] {
  const intents = labels.filter((label) => label !== 'oos');
  const step = Math.floor(intents.length / count);
  return intents.filter((_, index) => index % step === seed % step).slice(0, count);
}

/** Reads, draws and encodes. @throws as `readRows` does. */
export async function openAttackRows({
  cell: { seed, split, settings },
  folder,
  base,
}: {
  readonly cell: AttackCell;
  readonly folder: string;
  readonly base: LoadedBase;
}): Promise<AttackRows> {
  const passedOver = split === 'test' ? settings.passedOver : 0;
  const all = { trainCount: Number.POSITIVE_INFINITY, testCount: Number.POSITIVE_INFINITY };
  const found = await readSet({ folder, set: 'clinc150', split, ...all, passedOver, seed });
  const labels = intentsOf(found.labels, seed, settings.labels);
  const kept = (rows: readonly Row[]): Row[] => rows.filter(({ label }) => labels.includes(label));
  const drawn = seededRandom(seed, 'attack-rows').shuffle(kept(found.train));
  const take = (count: number): Row[] => drawn.splice(0, count);
  const model = createTaskModel({
    base: base.model,
    adapter: parseAdapter(adapter, base.model.description),
    task: { kind: 'classification', labels, pooling: 'mean', lengthMax: settings.lengthMax },
    tokenizer: base.tokenizer,
    activations: createActivationCache(),
  });
  const encode = (rows: readonly Row[]): ExampleSource =>
    encodeRows(rows, { task: model.task, tokenizer: base.tokenizer }).source;
  const root = encode(take(settings.rootRows));
  const canary = encode(take(settings.canaryRows));
  const clientRows = Array.from({ length: settings.clients }, () => take(settings.rowsPerClient));
  const own = clientRows[0]!;
  const target = labels[0]!;
  const withTrigger = (rows: readonly Row[]): Row[] =>
    rows
      .filter(({ label }) => label !== target)
      .map((row) => ({ ...row, text: `${trigger} ${row.text}`, label: target }));
  const turned = own.map((row) => ({ ...row, label: labels[labels.length - 1 - labels.indexOf(row.label)]! }));
  const measured = kept(found.test);
  return {
    model,
    clients: clientRows.map((rows) => ({ rows: encode(rows) })),
    root,
    canary,
    test: encode(measured),
    triggered: encode(withTrigger(measured)),
    flipped: encode(turned),
    poisoned: encode([...own, ...withTrigger(own)]),
  };
}
