/** Which parameters take a step now: those of tensors that train at all and that the schedule of freezing leaves alone. */
import { type Tensor1D, tensor1d } from '@tensorflow/tfjs-core';
import { type AdapterLayout, trainsLocally } from '../update/layout.ts';
import { type FreezeSettings, freezeScheduleOf } from './freeze-schedule.ts';

/** The parameters that take a step, over one training. */
export interface Activity {
  /** Goes to a share of training: `[dim]`, 1 where a step is taken and 0 elsewhere, owned by this; null where no schedule freezes anything. */
  at(progress: number): Tensor1D | null;
  /** Whether the tensor at a place of the layout trains at the share that was last asked for. */
  trains(index: number): boolean;
  /** Frees the mask. */
  dispose(): void;
}

/** Nothing is asked for yet. */
export function createActivity(layout: AdapterLayout, settings: FreezeSettings): Activity {
  const schedule = freezeScheduleOf(layout, settings);
  let frozen: readonly boolean[] = [];
  let mask: Tensor1D | null = null;
  const trains = (index: number): boolean =>
    trainsLocally(layout.tensors[index]!.aggregationClass) && frozen[index] !== true;
  return {
    trains,
    at: (progress) => {
      if (schedule === null) return null;
      const now = schedule.frozenAt(progress);
      if (mask !== null && now === frozen) return mask;
      frozen = now;
      mask?.dispose();
      const values = new Float32Array(layout.dim);
      for (const [index, { offset, size }] of layout.tensors.entries())
        if (trains(index)) values.fill(1, offset, offset + size);
      mask = tensor1d(values);
      return mask;
    },
    dispose: () => mask?.dispose(),
  };
}
