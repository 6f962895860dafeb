/** What several kinds of task have in common. */
import type { RowPlace } from '../../data/row.ts';
import type { Pooling } from '../../plan/task.ts';
import type { BoundTask } from './task.ts';

/** The first token of a causal base sees nothing of the text, so it cannot stand for it. */
export function causalPooling(
  base: Parameters<BoundTask['fault']>[0],
  pooling: Pooling,
): ReturnType<BoundTask['fault']> {
  if (!base.causal || pooling !== 'first') return null;
  return {
    field: 'pooling',
    sentence: `must be last or mean on ${base.family}, whose first token sees nothing of the text, found "first"`,
  };
}

/** Language-model tasks are scored by the output of the base, which bare checkpoints lack. */
export function headless(
  { hasLanguageModelHead, family }: Parameters<BoundTask['fault']>[0],
  kind: 'causal' | 'masked',
): ReturnType<BoundTask['fault']> {
  if (hasLanguageModelHead) return null;
  return {
    field: 'kind',
    sentence: `must be another on this checkpoint of ${family}, found "${kind}": it holds no language-model head; take one that was saved with it (BertForMaskedLM, LlamaForCausalLM and the like)`,
  };
}

/** The owner of a row as the column `client`, where it has one. */
export function writeGroup({ group }: RowPlace): { readonly client?: string } {
  return group === undefined ? {} : { client: group };
}
