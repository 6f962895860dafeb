/**
 * Small computation graphs in the binary form of ONNX, written by hand: what the native engine compiles. A graph is a plain value;
 * {@link encodeGraph} is the protobuf writer for the few messages of onnx.proto3 that it needs (ModelProto, GraphProto, NodeProto, AttributeProto,
 * TensorProto, ValueInfoProto, OperatorSetIdProto; field numbers below are theirs).
 *
 * Operator sets: 20 of ai.onnx (Gelu; axes of reductions as inputs) and 1 of com.microsoft (FusedMatMul). Values carry no shapes, so one
 * compiled graph serves all. Every graph has one more output, {@link markerOutput}.
 */

/** Types of values in a graph. */
export type OnnxType = 'float32' | 'int32' | 'int64' | 'bool';

/** Attribute of a node: whole numbers are INT, lists are INTS, text is STRING, `{ float }` is FLOAT. */
export type OnnxAttribute = number | string | readonly number[] | { readonly float: number };

/** One operation; `ms` takes it from com.microsoft. An empty input name leaves an optional input out. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  readonly ms?: boolean;
}

/** A constant of a graph: a scalar, or a list of whole numbers such as the axes of a reduction. */
export type OnnxConstant = { readonly float: number } | { readonly integers: readonly number[] };

/** A graph; inputs and outputs are `name` (float32) or `[name, type]`. */
export interface OnnxGraph {
  readonly inputs: readonly (string | readonly [string, OnnxType])[];
  readonly outputs: readonly (string | readonly [string, OnnxType])[];
  readonly nodes: readonly OnnxNode[];
  readonly constants?: Readonly<Record<string, OnnxConstant>>;
}

/** The first output of every graph: no values, of a type (bfloat16) that JavaScript has no array for. What it is good for stands in `engine.node.ts`. */
export const markerOutput = 'marker';

const markerType = 16;

const dataTypes: Readonly<Record<OnnxType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;
const versions = { ir: 9, onnx: 20, microsoft: 1 } as const;
const microsoft = 'com.microsoft';

/** Bytes of a ModelProto that holds `graph`. */
export function encodeGraph({ inputs, outputs, nodes, constants = {} }: OnnxGraph): Uint8Array<ArrayBuffer> {
  const graph = [
    ...nodes.flatMap((node, index) => message(1, encodeNode(node, index))),
    ...text(2, 'g'),
    ...Object.entries(constants).flatMap(([name, constant]) => message(5, encodeConstant(name, constant))),
    ...message(5, [...integer(1, 0), ...integer(2, markerType), ...text(8, markerOutput), ...message(9, [])]),
    ...inputs.flatMap((value) => message(11, encodeValue(value))),
    ...message(12, encodeTyped(markerOutput, markerType)),
    ...outputs.flatMap((value) => message(12, encodeValue(value))),
  ];
  const operators = (domain: string, version: number) => message(8, [...text(1, domain), ...integer(2, version)]);
  return Uint8Array.from([
    ...integer(1, versions.ir),
    ...message(7, graph),
    ...operators('', versions.onnx),
    ...operators(microsoft, versions.microsoft),
  ]);
}

/**
 * Bytes of a ModelProto that holds `graph` and the float32 values of one of its inputs, which then is none: the engine puts values that it knows beforehand into the order
 * in which its products read them. The graph is mentioned twice, and a message that is mentioned twice is merged.
 */
export function encodeGraphWith(
  graph: OnnxGraph,
  name: string,
  { dims, data }: { readonly dims: readonly number[]; readonly data: ArrayBufferView },
): Uint8Array<ArrayBuffer> {
  const bare = encodeGraph({ ...graph, inputs: graph.inputs.filter((input) => input !== name) });
  const described = [
    ...dims.flatMap((extent) => integer(1, extent)),
    ...integer(2, dataTypes.float32),
    ...text(8, name),
    ...lengthOf(9, data.byteLength),
  ];
  const tensor = [...lengthOf(5, described.length + data.byteLength), ...described];
  const head = [...lengthOf(7, tensor.length + data.byteLength), ...tensor];
  const bytes = new Uint8Array(bare.length + head.length + data.byteLength);
  bytes.set(bare);
  bytes.set(head, bare.length);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), bare.length + head.length);
  return bytes;
}

function encodeNode({ op, inputs, outputs, attributes = {}, ms = false }: OnnxNode, index: number): number[] {
  return [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(3, `${op}${index}`),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(([name, value]) => message(5, [...text(1, name), ...encodeAttribute(value)])),
    ...(ms ? text(7, microsoft) : []),
  ];
}

function encodeAttribute(value: OnnxAttribute): number[] {
  if (typeof value === 'number') return [...integer(3, value), ...integer(20, attributeTypes.int)];
  if (typeof value === 'string') return [...text(4, value), ...integer(20, attributeTypes.string)];
  if ('float' in value) return [...float(2, value.float), ...integer(20, attributeTypes.float)];
  return [...value.flatMap((one) => integer(8, one)), ...integer(20, attributeTypes.ints)];
}

function encodeConstant(name: string, constant: OnnxConstant): number[] {
  if ('float' in constant) {
    return [...integer(2, dataTypes.float32), ...message(4, littleEndian(constant.float)), ...text(8, name)];
  }
  const { integers } = constant;
  const packed = integers.flatMap(varint);
  return [...integer(1, integers.length), ...integer(2, dataTypes.int64), ...message(7, packed), ...text(8, name)];
}

function encodeValue(value: string | readonly [string, OnnxType]): number[] {
  const [name, type] = typeof value === 'string' ? ([value, 'float32'] as const) : value;
  return encodeTyped(name, dataTypes[type]);
}

function encodeTyped(name: string, type: number): number[] {
  return [...text(1, name), ...message(2, message(1, integer(1, type)))];
}

/** Wire formats of protobuf: 0 a varint, 2 bytes with their length, 5 four bytes. */
function integer(field: number, value: number): number[] {
  return [...varint(field << 3), ...varint(value)];
}

function message(field: number, bytes: readonly number[]): number[] {
  return [...lengthOf(field, bytes.length), ...bytes];
}

/** What stands in front of bytes. */
function lengthOf(field: number, byteCount: number): number[] {
  return [...varint((field << 3) | 2), ...varint(byteCount)];
}

function text(field: number, value: string): number[] {
  return message(field, [...new TextEncoder().encode(value)]);
}

function float(field: number, value: number): number[] {
  return [...varint((field << 3) | 5), ...littleEndian(value)];
}

function littleEndian(value: number): number[] {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return [...bytes];
}

/** Seven bits a byte, the lowest first; a negative number as the 64 bits of its two's complement. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return bytes;
}
