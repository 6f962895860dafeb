/** What settings of local training name must be there, once the layout of what is trained is known. */
import { UsageError } from '../core/errors.ts';
import { isBelow } from '../update/federated-layout.ts';
import { type AdapterLayout, trainsLocally } from '../update/layout.ts';
import type { TrainingConfiguration } from './configuration.ts';
import { freezeScheduleOf } from './freeze-schedule.ts';

/** @throws UsageError `bad-training` when a pattern names nothing that is trained, or when at some time nothing is trained. */
export function checkTraining(configuration: TrainingConfiguration, layout: AdapterLayout): void {
  const trained = layout.tensors.filter(({ aggregationClass }) => trainsLocally(aggregationClass));
  for (const field of ['groups', 'freezing'] as const) {
    for (const [place, { tensors }] of (configuration[field] ?? []).entries()) {
      for (const [index, pattern] of tensors.entries()) {
        if (trained.some(({ name }) => isBelow(name, pattern))) continue;
        const example = trained[0]?.name ?? 'none';
        const where = `${field}[${place}].tensors[${index}]`;
        throw refuse(where, `begin the name of a tensor that is trained, such as ${example}, found "${pattern}"`);
      }
    }
  }
  const schedule = freezeScheduleOf(layout, configuration);
  const idle = schedule?.changes.find((progress) => {
    const frozen = schedule.frozenAt(progress);
    return layout.tensors.every(({ aggregationClass }, index) => !trainsLocally(aggregationClass) || frozen[index]);
  });
  if (idle !== undefined) throw refuse('freezing', `leave something to train at all times; from ${idle} on nothing is`);
}

function refuse(field: string, sentence: string): UsageError {
  return new UsageError('bad-training', `training.${field} must ${sentence}`);
}
