/** Graphs of one or two nodes that kernels run, each built once. */
import type { OnnxAttribute, OnnxGraph, OnnxNode, OnnxType } from './onnx.ts';

/** Memory that graphs read and write. */
export type EngineArray = Float32Array | Int32Array | Uint8Array | BigInt64Array;

/** An input or output of a run. */
export interface EngineValue {
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly data: EngineArray;
}

/** Names a graph and builds it when it is first asked for. `key` must name all that the graph depends on. */
export interface Program {
  readonly key: string;
  readonly graph: OnnxGraph;
  readonly isHeavy: boolean;
}

/** A program with the values of one input inside: the rest of the inputs, in the order of the graph, and outputs to fill. */
export interface PreparedProgram {
  run(inputs: readonly EngineValue[], outputs: readonly EngineValue[]): void;
  dispose(): void;
}

const known = new Map<string, Program>();
/** Keys have few parts, each with few values; the bound guards against a caller that puts a shape into one. */
const knownMax = 4096;

/** The program of `key`. @param isHeavy whether several threads pay. */
export function program(key: string, isHeavy: boolean, build: () => OnnxGraph): Program {
  const found = known.get(key);
  if (found !== undefined) return found;
  if (known.size >= knownMax) known.clear();
  const made = { key, graph: build(), isHeavy };
  known.set(key, made);
  return made;
}

/** A node with one output. */
export function node(
  op: string,
  inputs: readonly string[],
  output: string,
  attributes: Readonly<Record<string, OnnxAttribute>> = {},
): OnnxNode {
  return { op, inputs, outputs: [output], attributes };
}

/** A node of com.microsoft with one output. */
export function microsoftNode(...parts: Parameters<typeof node>): OnnxNode {
  return { ...node(...parts), ms: true };
}
