/** A device that computes wrong without an error, as a lost graphics context or a driver with a fault does. */
import { getKernel, registerKernel, type TensorInfo, unregisterKernel } from '@tensorflow/tfjs-core';

/** From now on one value of every product of the plain back end is off by `wrong`; the returned function mends that. */
export function computeWrong(wrong: number): () => void {
  const kernel = getKernel('BatchMatMul', 'cpu');
  const replaceBy = (other: typeof kernel): void => {
    unregisterKernel('BatchMatMul', 'cpu');
    registerKernel(other);
  };
  replaceBy({
    ...kernel,
    kernelFunc: (call) => {
      const result = kernel.kernelFunc(call) as TensorInfo;
      const { data } = call.backend as { data: { get(id: object): { values: Float32Array } } };
      const { values } = data.get(result.dataId);
      values[values.length - 1]! += wrong;
      return result;
    },
  });
  return () => replaceBy(kernel);
}
