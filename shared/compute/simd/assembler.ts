/**
 * WebAssembly modules with vector instructions, written out as bytes: an expression is the list of the instructions that leave its value on the
 * stack. Only the instructions that the kernels beside this file use are here; names and codes are those of the specification (WebAssembly core,
 * release 2, section 5.4; relaxed vector instructions: their proposal, section "binary format").
 */

/** Instructions, as bytes. */
export type Code = readonly number[];

/** Types of parameters and locals. */
export type ValueType = 'i32' | 'f32' | 'v128';

/** A parameter or local of a function. */
export interface Local {
  readonly get: Code;
  readonly set: (value: Code) => Code;
  /** Adds to it; a number in `i32`. */
  readonly move: (bytes: number) => Code;
}

/** A function in the making. */
export interface Frame {
  /** A new local. */
  readonly local: (type: ValueType) => Local;
  /** A number in all four places of a vector, put into a local once: as an instruction within a loop it costs five of the processor's. */
  readonly constant: (value: number) => Code;
}

/** A function of a module: it returns nothing, since kernels write to memory. */
export interface FunctionSpecification {
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly body: (frame: Frame, ...parameters: readonly Local[]) => Code;
}

const types: Readonly<Record<ValueType, number>> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };
const vectorPrefix = 0xfd;
const emptyBlock = 0x40;
const end = 0x0b;

/** Instructions on 32-bit whole numbers: addresses and counts. */
export const i32 = {
  constant: (value: number): Code => [0x41, ...signed(value)],
  add: (a: Code, b: Code): Code => [...a, ...b, 0x6a],
  subtract: (a: Code, b: Code): Code => [...a, ...b, 0x6b],
  multiply: (a: Code, b: Code): Code => [...a, ...b, 0x6c],
  shiftLeft: (a: Code, bits: number): Code => [...a, ...i32.constant(bits), 0x74],
  isBelow: (a: Code, b: Code): Code => [...a, ...b, 0x49],
  /** The lower of two; both are computed twice. */
  lower: (a: Code, b: Code): Code => [...a, ...b, ...i32.isBelow(a, b), 0x1b],
  isAtLeast: (a: Code, b: Code): Code => [...a, ...b, 0x4f],
} as const;

/** Instructions on single numbers. */
export const f32 = {
  constant: (value: number): Code => [0x43, ...floatBytes(value)],
  add: (a: Code, b: Code): Code => [...a, ...b, 0x92],
  multiply: (a: Code, b: Code): Code => [...a, ...b, 0x94],
  divide: (a: Code, b: Code): Code => [...a, ...b, 0x95],
  root: (a: Code): Code => [...a, 0x91],
  /** The higher of two; not a number where one is not. */
  higher: (a: Code, b: Code): Code => [...a, ...b, 0x97],
  load: (address: Code): Code => [...address, 0x2a, 2, 0],
  store: (address: Code, value: Code): Code => [...address, ...value, 0x38, 2, 0],
  ofWhole: (value: Code): Code => [...value, 0xb3],
} as const;

/** Instructions on vectors of four numbers. */
export const v128 = {
  constant: (value: number): Code => {
    const bytes = floatBytes(value);
    return vector(0x0c, [...bytes, ...bytes, ...bytes, ...bytes]);
  },
  load: (address: Code, offset = 0): Code => [...address, ...vector(0x00, [2, ...unsigned(offset)])],
  /** Four numbers of sixteen bits, as the lower bits of 32. */
  loadHalves: (address: Code): Code => [...address, ...vector(0x04, [1, 0])],
  /** One number in all four places. */
  loadSplat: (address: Code, offset = 0): Code => [...address, ...vector(0x09, [2, ...unsigned(offset)])],
  store: (address: Code, value: Code, offset = 0): Code => [
    ...address,
    ...value,
    ...vector(0x0b, [2, ...unsigned(offset)]),
  ],
  splat: (value: Code): Code => [...value, ...vector(0x13)],
  add: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe4)],
  subtract: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe5)],
  multiply: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe6)],
  divide: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe7)],
  root: (a: Code): Code => [...a, ...vector(0xe3)],
  /** The lower of two; `a` where it is not a number. */
  lower: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xea)],
  /** The higher of two; `a` where it is not a number. */
  higher: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xeb)],
  /** All bits set in every place where `a` is below `b`. */
  isBelow: (a: Code, b: Code): Code => [...a, ...b, ...vector(0x43)],
  and: (a: Code, b: Code): Code => [...a, ...b, ...vector(0x4e)],
  or: (a: Code, b: Code): Code => [...a, ...b, ...vector(0x50)],
  /** `a`, and 0 in every place where all bits of `mask` are set. */
  unless: (a: Code, mask: Code): Code => [...a, ...mask, ...vector(0x4f)],
  /** Sum of the bits as whole numbers. */
  addBits: (a: Code, b: Code): Code => [...a, ...b, ...vector(0xae)],
  shiftBitsLeft: (a: Code, bits: number): Code => [...a, ...i32.constant(bits), ...vector(0xab)],
  /** The first of the four, as a single number. */
  first: (a: Code): Code => lane(a, 0),
  /** The highest of the four, as a single number. Reads `a` four times. */
  highest: (a: Code): Code => f32.higher(f32.higher(lane(a, 0), lane(a, 1)), f32.higher(lane(a, 2), lane(a, 3))),
  /** The sum of the four, as a single number. Reads `a` four times. */
  sum: (a: Code): Code => f32.add(f32.add(lane(a, 0), lane(a, 1)), f32.add(lane(a, 2), lane(a, 3))),
} as const;

/** `a b + c`, fused where `relaxed`: one rounding, half the instructions. */
export function multiplyAdd(relaxed: boolean): (a: Code, b: Code, c: Code) => Code {
  return relaxed ? (a, b, c) => [...a, ...b, ...c, ...vector(0x105)] : (a, b, c) => v128.add(v128.multiply(a, b), c);
}

/** Repeats `body` while `condition` holds; it is asked first. */
export function whileLoop(condition: Code, body: Code): Code {
  const again = [0x0c, 1];
  return [0x03, emptyBlock, ...condition, 0x04, emptyBlock, ...body, ...again, end, end];
}

/** Repeats `body` as long as `condition` holds; it is asked afterwards. */
export function repeatLoop(body: Code, condition: Code): Code {
  return [0x03, emptyBlock, ...body, ...condition, 0x0d, 0, end];
}

function lane(a: Code, index: number): Code {
  return [...a, ...vector(0x1f, [index])];
}

function vector(code: number, immediates: Code = []): Code {
  return [vectorPrefix, ...unsigned(code), ...immediates];
}

/** Bytes of a module that imports `env.memory` and exports its functions. */
export function encodeModule(functions: readonly FunctionSpecification[]): Uint8Array<ArrayBuffer> {
  const section = (id: number, items: readonly Code[]): Code => {
    const content = [...unsigned(items.length), ...items.flat()];
    return [id, ...unsigned(content.length), ...content];
  };
  const bodies = functions.map(encodeBody);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      functions.map(({ parameters }) => [
        0x60,
        ...unsigned(parameters.length),
        ...parameters.map((type) => types[type]),
        0,
      ]),
    ),
    ...section(2, [[...text('env'), ...text('memory'), 2, 0, 0]]),
    ...section(
      3,
      functions.map((_, index) => unsigned(index)),
    ),
    ...section(
      7,
      functions.map(({ name }, index) => [...text(name), 0, ...unsigned(index)]),
    ),
    ...section(10, bodies),
  ]);
}

function encodeBody({ parameters, body }: FunctionSpecification): Code {
  const locals: ValueType[] = [];
  const made = (_type: ValueType, index: number): Local => {
    const get = [0x20, ...unsigned(index)];
    const set = (value: Code): Code => [...value, 0x21, ...unsigned(index)];
    return { get, set, move: (bytes) => set(i32.add(get, i32.constant(bytes))) };
  };
  const local = (type: ValueType): Local => made(type, parameters.length + locals.push(type) - 1);
  const constants = new Map<number, Local>();
  const constant = (value: number): Code => {
    const known = constants.get(value) ?? local('v128');
    constants.set(value, known);
    return known.get;
  };
  const main = body({ local, constant }, ...parameters.map(made));
  const code = [...[...constants].flatMap(([value, { set }]) => set(v128.constant(value))), ...main];
  const content = [...unsigned(locals.length), ...locals.flatMap((type) => [1, types[type]]), ...code, end];
  return [...unsigned(content.length), ...content];
}

function text(value: string): Code {
  return [...unsigned(value.length), ...new TextEncoder().encode(value)];
}

function floatBytes(value: number): Code {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

/** Seven bits a byte, the lowest first. */
function unsigned(value: number): Code {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

function signed(value: number): Code {
  const bytes: number[] = [];
  for (let rest = value | 0; ; ) {
    const low = rest & 127;
    rest >>= 7;
    const isLast = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
    bytes.push(isLast ? low : low | 128);
    if (isLast) return bytes;
  }
}
