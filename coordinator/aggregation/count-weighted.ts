/** Tensors whose mean is over what was used, and the counts that say how much that was. */
import { assert } from '../../shared/core/assert.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import { weighByCounts } from '../../shared/update/upload.ts';

/** Replaces, in place, every value of such tensors in `mean` `[uploaded dim]` by what `combine` makes of it and of its count. */
export function combineWithCounts(
  { uploaded }: Exchange,
  mean: Float64Array,
  combine: (value: number, count: number) => number,
): void {
  const valuesOf = ({ offset, size }: (typeof uploaded.tensors)[number]): Float64Array =>
    mean.subarray(offset, offset + size);
  for (const tensor of uploaded.tensors) {
    if (tensor.aggregationClass !== 'count-weighted') continue;
    const counts = uploaded.tensors.find(({ name }) => name === tensor.countName);
    assert(counts !== undefined, `the counts ${tensor.countName} were uploaded`);
    weighByCounts(valuesOf(tensor), tensor, valuesOf(counts), combine);
  }
}
