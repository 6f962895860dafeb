import { split, type Tensor2D } from '@tensorflow/tfjs-core';
/** Cuts the columns of `rows` into `count` equal parts. */
export function splitColumns(rows: Tensor2D, count: number): Tensor2D[] {
  return split(rows, count, 1);
}
