/** The head in an adapter document, and back. */
import { assert } from '../../core/assert.ts';
import type { Task } from '../../plan/task.ts';
import { unflatten } from '../../update/vector.ts';
import type { AdapterDocument } from '../adapter-document.ts';
import type { HeadValues } from './heads.ts';

/** Whether a tensor of a layout belongs to the head. */
export function isOfHead(name: string): boolean {
  return name.startsWith('head.');
}

/** The head of a document; null where its task is scored by the base's own output. */
export function headOf({
  layout,
  parameters,
  task,
}: Pick<AdapterDocument, 'layout' | 'parameters' | 'task'>): HeadValues | null {
  const values = unflatten(layout, parameters);
  const kernel = values.get('head.kernel');
  if (kernel === undefined) return null;
  const activation = 'head' in task ? task.head?.hidden : undefined;
  const dense = values.get('head.hidden.kernel');
  assert((activation === undefined) === (dense === undefined), 'a head has a dense map where its task says so');
  const hidden =
    dense === undefined ? null : { kernel: dense, bias: values.get('head.hidden.bias')!, activation: activation! };
  return { hidden, kernel, bias: values.get('head.bias') ?? null };
}

/** The tensors of a head by our names. */
export function headTensors({ hidden, kernel, bias }: HeadValues): Map<string, Float32Array> {
  return new Map([
    ...(hidden === null
      ? []
      : ([
          ['head.hidden.kernel', hidden.kernel],
          ['head.hidden.bias', hidden.bias],
        ] as const)),
    ['head.kernel', kernel],
    ...(bias === null ? [] : [['head.bias', bias] as const]),
  ]);
}

/** What a task says of a head; undefined for the usual one, which is linear with a bias. */
export function headShapeOf({ hidden, bias }: HeadValues): HeadShape | undefined {
  if (hidden === null && bias !== null) return undefined;
  return { ...(hidden === null ? {} : { hidden: hidden.activation }), ...(bias === null ? { bias: false } : {}) };
}

type HeadShape = NonNullable<Extract<Task, { readonly head?: unknown }>['head']>;
