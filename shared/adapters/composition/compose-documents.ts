/**
 * Puts adapters that exist into a composition, as the start of its training or to be used as it is: the second stage of AdapterFusion begins
 * here. Members keep their values bit for bit; what the composition adds starts from the seed.
 */
import { assert } from '../../core/assert.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import type { Plan } from '../../plan/plan.ts';
import { initialValues, taskLayout } from '../../training/initial-adapter.ts';
import { unflatten } from '../../update/vector.ts';
import { type AdapterDocument, contentOfDocument, createAdapterDocument } from '../adapter-document.ts';
import { adapterOnBase } from '../document-on-base.ts';
import { parseAdapter } from '../registry.ts';

/** What {@link composeDocuments} needs. */
export interface ComposeOptions {
  /** A composition: `stack`, `fuse`, `average`, `split`, `batch-split`. */
  readonly method: string;
  /** Its settings, without `members`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** By id, in order. Whether a member is frozen is the composition's default where nothing is said. */
  readonly members: readonly {
    readonly id: string;
    readonly document: AdapterDocument;
    readonly frozen?: boolean;
  }[];
  readonly base: BaseDescription;
  /** What the composition is for; its head starts as the mean of the members', at the weights of an `average`, where they are for the same, else anew. */
  readonly task: Plan['task'];
  readonly seed: number;
}

/**
 * The composition of some adapters, whose contents stand in its configuration.
 * @throws UsageError `wrong-base` or `bad-adapter`; FormatError `bad-adapter-folder`.
 */
export function composeDocuments(options: ComposeOptions): AdapterDocument {
  const { method, settings = {}, members, base, task, seed } = options;
  for (const { document } of members) adapterOnBase(document, base);
  const configured = members.map(({ id, frozen, document }) => {
    return {
      ...document.adapter,
      id,
      content: contentOfDocument(document),
      ...(frozen === undefined ? {} : { frozen }),
    };
  });
  const adapter = parseAdapter({ method, ...settings, members: configured }, base);
  const layout = taskLayout(adapter, base, task);
  const parameters = initialValues(layout, adapter, seed);
  const heads = sameTask(task, members) ? members.map(({ document }) => valuesOf(document)) : [];
  const shares = sharesOf(adapter.configuration.weights as readonly number[] | undefined, members.length);
  const values = new Map<string, Float32Array>();
  for (const { id, document } of members)
    for (const [name, own] of valuesOf(document)) values.set(`${id}.${name}`, own);
  for (const { name, offset, size } of layout.tensors) {
    const own = values.get(name);
    if (own !== undefined) {
      assert(own.length === size, `${name} has ${size} values, the member ${own.length}`);
      parameters.set(own, offset);
    } else if (name.startsWith('head.') && heads.length > 0) {
      for (let index = 0; index < size; index++)
        parameters[offset + index] = heads.reduce(
          (sum, head, place) => sum + shares[place]! * head.get(name)![index]!,
          0,
        );
    }
  }
  return createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });
}

/** Weights that sum to 1; without any, the same for all. */
function sharesOf(weights: readonly number[] | undefined, count: number): readonly number[] {
  if (weights === undefined) return Array.from({ length: count }, () => 1 / count);
  const sum = weights.reduce((left, right) => left + right, 0);
  return weights.map((weight) => weight / sum);
}

function valuesOf({ layout, parameters }: AdapterDocument): Map<string, Float32Array> {
  return unflatten(layout, parameters);
}

function sameTask(task: Plan['task'], members: ComposeOptions['members']): boolean {
  const text = JSON.stringify(task);
  return members.every(({ document }) => JSON.stringify(document.task) === text);
}
