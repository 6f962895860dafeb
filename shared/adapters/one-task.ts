/**
 * One task out of an adapter of several (`shared/training/tasks/several.ts`), as an adapter of that task alone with the head that it has: what other
 * libraries have a place for. It computes for a text bit for bit what the whole computes for the task. Of adapters side by side it is the member of the task; an adapter that
 * computes by task, as a hypernetwork does, stays whole and names the task.
 */
import { UsageError } from '../core/errors.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { nearest } from '../plan/nearest.ts';
import type { Plan } from '../plan/plan.ts';
import type { ClassificationTask } from '../plan/task.ts';
import { taskLayout } from '../training/initial-adapter.ts';
import { flatten, unflatten } from '../update/vector.ts';
import { type AdapterDocument, createAdapterDocument } from './adapter-document.ts';
import { adapterOnBase } from './document-on-base.ts';
import { parseAdapter } from './registry.ts';

/**
 * The adapter of `document` for its task `name`. It has no lineage: no federation signed these values by themselves.
 * @throws UsageError `bad-adapter-task` naming the tasks there are; as {@link adapterOnBase} does.
 */
export function documentOfTask(document: AdapterDocument, name: string, base: BaseDescription): AdapterDocument {
  const whole = adapterOnBase(document, base);
  const { task } = document;
  if (task.kind !== 'several')
    return refuse(`must be left out: the adapter has one task, of the kind ${task.kind}, found ${name}`);
  const names = task.tasks.map((one) => one.name);
  const one = task.tasks.find((candidate) => candidate.name === name);
  if (one === undefined) {
    const near = nearest(name, names);
    return refuse(
      `must be one of ${names.join(', ')}${near === null ? '' : ` (did you mean ${near}?)`}, found ${name}`,
    );
  }
  const { labels, classWeights } = one;
  const { pooling, lengthMax } = task;
  const single: ClassificationTask = {
    kind: 'classification',
    ...{ labels, pooling, lengthMax },
    ...(classWeights === undefined ? {} : { classWeights }),
  };
  const isBeside = whole.sideBySide !== undefined;
  const adapter = parseAdapter(isBeside ? memberOf(document.adapter, name) : boundTo(document.adapter, name), base);
  const layout = taskLayout(adapter, base, single);
  const values = unflatten(document.layout, document.parameters);
  const own = layout.tensors.map(({ name: tensor }) => {
    const source = tensor.startsWith('head.')
      ? `heads.${name}.${tensor.slice(5)}`
      : isBeside
        ? `${name}.${tensor}`
        : tensor;
    return [tensor, values.get(source)!] as const;
  });
  const parameters = flatten(layout, new Map(own));
  return createAdapterDocument({ base, adapter: adapter.configuration, task: single, layout, parameters });
}

function refuse(sentence: string): never {
  throw new UsageError('bad-adapter-task', `--task ${sentence}`);
}

type Configuration = Plan['adapter'];

/** The adapter that stands beside others under the name of the task. */
function memberOf({ members }: Configuration, name: string): Configuration {
  const {
    id: _,
    frozen: __,
    content: ___,
    version: ____,
    ...own
  } = (members as readonly Configuration[]).find(({ id }) => id === name)!;
  return own;
}

/** The configuration that computes for the task wherever tasks are told apart. */
function boundTo(configuration: Configuration, name: string): Configuration {
  const { tasks, task, members } = configuration;
  const isTold = Array.isArray(tasks) && tasks.includes(name) && task !== 'instance';
  const inner = Array.isArray(members)
    ? { members: (members as readonly Configuration[]).map((member) => boundTo(member, name)) }
    : {};
  return { ...configuration, ...inner, ...(isTold ? { task: name } : {}) };
}
