/**
 * A new adapter beside earlier ones that stay as they are, bit for bit: learning one task after the other without forgetting, since what an
 * earlier task reads is never written again (the adapters of Houlsby 2019, section 1, one per task; progressive columns of Rusu 2016, with adapters
 * in place of columns). The earlier adapters are frozen members of a stack, named by their content; the new one is its last, and reads what
 * they make of a text.
 */
import type { BaseDescription } from '../../model/base-model.ts';
import type { Plan } from '../../plan/plan.ts';
import { initialValues, taskLayout } from '../../training/initial-adapter.ts';
import { unflatten } from '../../update/vector.ts';
import { type AdapterDocument, contentOfDocument, createAdapterDocument } from '../adapter-document.ts';
import { adapterOnBase } from '../document-on-base.ts';
import { parseAdapter } from '../registry.ts';

/** Id of the new member. */
const ownId = 'own';

/** What {@link adapterBeside} needs. */
export interface BesideOptions {
  /** By id, in the order in which they act. */
  readonly earlier: readonly { readonly id: string; readonly document: AdapterDocument }[];
  /** The new adapter: its method and settings. */
  readonly adapter: Plan['adapter'];
  readonly base: BaseDescription;
  /** What the new adapter is for; its head begins anew. */
  readonly task: Plan['task'];
  readonly seed: number;
}

/**
 * The stack before training: what training starts from.
 * @throws UsageError `wrong-base` where an earlier adapter is for another base, `bad-adapter` where the stack cannot be.
 */
export function adapterBeside({ earlier, adapter: settings, base, task, seed }: BesideOptions): AdapterDocument {
  for (const { document } of earlier) adapterOnBase(document, base);
  const frozen = earlier.map(({ id, document }) => {
    return { ...document.adapter, id, frozen: true, content: contentOfDocument(document) };
  });
  const adapter = parseAdapter({ method: 'stack', members: [...frozen, { ...settings, id: ownId }] }, base);
  const layout = taskLayout(adapter, base, task);
  const parameters = initialValues(layout, adapter, seed);
  for (const { id, document } of earlier) {
    const values = unflatten(document.layout, document.parameters);
    for (const { name, offset } of layout.tensors)
      if (name.startsWith(`${id}.`)) parameters.set(values.get(name.slice(id.length + 1))!, offset);
  }
  return createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });
}
