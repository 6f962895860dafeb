/** What kernels of the native back end have in common: what they are called with, when they run on the engine, and how. */
import type { Attribute, DataId, KernelConfig, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import type { FloatHost } from '../float-host.ts';
import type { PackedProducts } from './packed-products.ts';
import type { EngineArray, EngineValue, Program } from './programs.ts';

/** A result in the making: the array to fill, and what the kernel returns. */
export interface Output {
  readonly values: Float32Array;
  readonly info: TensorInfo;
}

/** What kernels use of the back end. */
export interface KernelHost {
  /** A float32 result of `shape`; its values are leftovers. */
  output(shape: readonly number[]): Output;
  /** The array of a tensor, borrowed: for the length of one kernel. */
  values(tensor: { readonly dataId: DataId }): EngineArray;
  /** Null where the engine has several threads: every packed matrix would have threads of its own. */
  readonly packed: PackedProducts | null;
  /** Frees a tensor that is no result. */
  disposeData(dataId: DataId): unknown;
  readonly engine: {
    /** Runs a program on its inputs, in the order of the graph; fills the outputs. @throws Error of the engine. */
    run(program: Program, inputs: readonly EngineValue[], outputs: readonly EngineValue[]): void;
  };
}

/** What a kernel is called with. */
export interface Call {
  readonly inputs: Readonly<Record<string, TensorInfo | undefined>>;
  readonly attrs: Readonly<Record<string, unknown>>;
  readonly backend: KernelHost;
}

/** The call as kernels see it that run on every back end. */
export function floatHost({ inputs, attrs, backend }: Call): FloatHost {
  return {
    inputs,
    attrs,
    output: (shape) => backend.output(shape).info,
    values: (tensor) => backend.values(tensor) as Float32Array,
    free: ({ dataId }) => void backend.disposeData(dataId),
  };
}

/** A kernel: its result, or null where the plain back end's kernel is to compute it. */
export type Kernel = (call: Call) => TensorInfo | TensorInfo[] | null;

/** Kernels by the name of what they compute. */
export type Kernels = Readonly<Record<string, Kernel>>;

/** A float32 value of the engine, as a result. */
export function floatValue(data: Float32Array, dims: readonly number[]): EngineValue {
  return { type: 'float32', dims, data };
}

/** Whole numbers that tell the engine a shape. */
export function shapeValue(shape: readonly number[]): EngineValue {
  return { type: 'int64', dims: [shape.length], data: BigInt64Array.from(shape, BigInt) };
}

/** The array of a float32 tensor that has values; null for all others, which the plain kernels take. */
export function floats(backend: KernelHost, tensor: TensorInfo | undefined): Float32Array | null {
  if (tensor?.dtype !== 'float32') return null;
  const values = backend.values(tensor);
  return values instanceof Float32Array && values.length > 0 ? values : null;
}

/** The kernel as TensorFlow.js registers it, with the plain back end's for what this one leaves out. */
export function kernelConfig(kernelName: string, kernel: Kernel, plain: KernelConfig | undefined): KernelConfig {
  return {
    kernelName,
    backendName: 'native',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const call = {
        inputs: inputs as NamedTensorInfoMap,
        attrs: attrs as Record<string, Attribute>,
        backend,
      } as unknown as Call;
      const result = kernel(call);
      if (result !== null) return result;
      if (plain === undefined) throw new Error(`the native back end cannot compute this ${kernelName}`);
      return plain.kernelFunc({ inputs, backend, ...(attrs !== undefined && { attrs }) });
    },
  };
}
