/**
 * The operator's rows on the base of a plan: measures candidates for the gate, and makes the step that FLTrust compares updates with (Cao 2021), by
 * the same loop that clients run. Files are named by the plan, relative to its own, and are those whose digest it names.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type BackendName, useBackend } from '../../shared/compute/backend.ts';
import { assert } from '../../shared/core/assert.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { type ExampleSource, memorySource } from '../../shared/data/example-source.ts';
import { createParts } from '../../shared/data/parts.ts';
import { placeOf } from '../../shared/data/row-fields.ts';
import { streamViews } from '../../shared/data/rows.node.ts';
import { loadBase } from '../../shared/model/load.node.ts';
import { type RowsFile, rootOf } from '../../shared/plan/robustness.ts';
import { besideFrozen } from '../../shared/training/beside-frozen.ts';
import { createRowEncoder } from '../../shared/training/encode-rows.ts';
import { evaluate } from '../../shared/training/evaluate.ts';
import { planAdapters } from '../../shared/training/plan-adapters.ts';
import { createTaskModel, type TaskAdapter, type TaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import type { AdapterLayout } from '../../shared/update/layout.ts';
import { trainingStartOf } from '../../shared/update/training-start.ts';
import { uploadOf } from '../../shared/update/upload.ts';
import type { OpenOperator } from './operator.ts';

/** Where the operator's files are, and what computes. */
export interface OperatorFiles {
  /** The plan's own file, from whose folder its files are named. */
  readonly planFile: string;
  readonly baseFolder: string;
  readonly backend: BackendName | 'auto';
  /** Files in place of those beside the plan, for who replays a round; null leaves their part out. They are those of the plan's digests all the same. */
  readonly rows?: { readonly canary: string | null; readonly root: string | null };
}

/** Opens a plan's rows. @throws UsageError `wrong-rows`, `bad-plan`, and as readers of rows do. */
export function openOperatorModel({ planFile, baseFolder, backend, rows: given }: OperatorFiles): OpenOperator {
  return async (plan) => {
    const { canary, task, training, rounds, aggregation } = plan;
    const read = (field: string, path: string | null | undefined, rows: RowsFile): Promise<string> | null =>
      path === null ? null : checkedFile(field, path ?? resolve(dirname(planFile), rows.file), rows);
    const { by, file = '', digest, partColumn } = canary;
    const isMeasured = by === 'operator' && digest !== undefined;
    const canaryFile = isMeasured ? await read('canary', given?.canary, { file, digest }) : null;
    const root = rootOf(aggregation);
    const rootFile = root === null ? null : await read('aggregation.root', given?.root, root);
    await useBackend(backend);
    const { model: base, tokenizer } = await loadBase(baseFolder);
    const planned = planAdapters(plan, base.description);
    const { published, trained } = planned;
    const exchange = exchangeOf(aggregation, published.layout, trained.layout);
    const beside = besideFrozen(trained, published);
    const modelOf = (adapter: TaskAdapter, layout: AdapterLayout): TaskModel => ({
      ...createTaskModel({ base, adapter, task, tokenizer }),
      layout,
    });
    const model = modelOf(beside.adapter, trained.layout);
    const measured = published === trained ? model : modelOf(published.adapter, published.layout);
    const sourceOf = async (path: string, part: string | undefined): Promise<ExampleSource> => {
      const columns = { part };
      const encoder = createRowEncoder({ task: model.task, tokenizer });
      const parts = createParts();
      const examples = [];
      for await (const view of streamViews(path)) {
        if (task.part !== undefined && part !== undefined && placeOf(view, columns).part !== task.part) continue;
        const row = model.task.rows.read(view, columns);
        for (const example of parts.tag(row.part, encoder.encode(row))) examples.push(example);
      }
      const whose = task.part === undefined || part === undefined ? '' : ` of the part ${task.part}`;
      if (examples.length === 0) throw new UsageError('wrong-rows', `${path} holds no row${whose} that can be scored`);
      return parts.label(memorySource(examples));
    };
    const canaryRows = canaryFile === null ? null : await sourceOf(canaryFile, partColumn);
    const rootRows = rootFile === null ? null : await sourceOf(rootFile, root?.partColumn);
    return {
      measure: (parameters) => {
        assert(canaryRows !== null, 'the plan names rows to measure on');
        return evaluate({ model: measured, parameters, source: canaryRows });
      },
      rootUpdate: async (adapter, { roundIndex, drawHash }) => {
        assert(rootRows !== null, 'the plan names rows to train on');
        const fresh = (): Float32Array => model.initialise(training.seed + roundIndex);
        const { start, frozen } = trainingStartOf(exchange, {
          published: adapter,
          rankMax: null,
          personal: null,
          fresh,
        });
        beside.use(frozen);
        const { delta, counts } = await trainLocally({
          model,
          start,
          source: rootRows,
          configuration: training,
          seed: training.seed + roundIndex,
          round: { index: Math.min(roundIndex - (plan.phase?.firstRound ?? 0), rounds.count - 1), count: rounds.count },
        });
        beside.use(null);
        return uploadOf(exchange, { start, delta, counts, roundHash: drawHash });
      },
      dispose: () => {
        beside.dispose();
        base.dispose();
      },
    };
  };
}

/** The path, once the file is the one that the plan names. */
async function checkedFile(field: string, path: string, { digest }: RowsFile): Promise<string> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new UsageError('wrong-rows', `${field}.file: cannot read ${path}: ${errorMessage(cause)}`, { cause });
  });
  const found = digestOf(bytes);
  if (found === digest) return path;
  throw new UsageError('wrong-rows', `${path} has the digest ${found}, ${field}.digest names ${digest}`);
}
