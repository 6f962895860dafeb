/**
 * Value and gradients as the library's `valueAndGrads` gives them, in less memory. The library records every operation, and keeps all that operations saved and
 * all gradients in between until the whole backward pass has ended. Here what does not depend on the inputs is not recorded and what it saved is free at
 * once, and going back frees what an operation saved, and the gradient of its result, as soon as it was passed.
 */
import { add, clone, engine, ones, type Scalar, type Tensor, tidy, util } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';

type State = ReturnType<typeof engine>['state'];
type Recorded = State['activeTape'][number];

/** What was recorded of one computation. */
interface Tape {
  /** Operations in their order. */
  readonly operations: Recorded[];
  /** Whether a tensor depends on the inputs. */
  readonly depends: (tensor: Tensor) => boolean;
}

/** What is recorded now. */
let recording: Tape | null = null;

/** Whether {@link valueAndGradients} will go back through what is computed of `tensor` now. */
export function leadsBack(tensor: Tensor): boolean {
  return recording?.depends(tensor) ?? false;
}

/**
 * `compute(...inputs)` and its gradient by each input. Gradients of gradients are not supported.
 * @throws Error when the value does not depend on an input, or an operation has no gradient.
 */
export function valueAndGradients<Inputs extends readonly Tensor[]>(
  compute: (...inputs: Inputs) => Scalar,
  inputs: Inputs,
): { readonly value: Scalar; readonly gradients: { readonly [Index in keyof Inputs]: Inputs[Index] } } {
  const { value, gradients } = tidy(() => {
    const found = valueAndReached(compute, inputs);
    for (const [index, gradient] of found.gradients.entries())
      assert(gradient !== null, `the value does not depend on input ${index}`);
    return { value: found.value, gradients: found.gradients as Tensor[] };
  });
  return { value, gradients: gradients as unknown as { [Index in keyof Inputs]: Inputs[Index] } };
}

/** {@link valueAndGradients} for a value that may depend on some inputs alone: null where nothing that leads to it read the input, and nothing is computed. */
export function valueAndReached<Inputs extends readonly Tensor[]>(
  compute: (...inputs: Inputs) => Scalar,
  inputs: Inputs,
): { readonly value: Scalar; readonly gradients: readonly (Tensor | null)[] } {
  const { state } = engine();
  assert(state.gradientDepth === 0, 'a gradient is being recorded already');
  const tape = tapeFrom(inputs);
  const { operations } = tape;
  try {
    state.activeTape = operations;
    state.gradientDepth = 1;
    recording = tape;
    return tidy(() => {
      const value = tidy(() => compute(...inputs));
      state.gradientDepth = 0;
      recording = null;
      return { value, gradients: goBack(value, inputs, tape) as Tensor[] };
    });
  } finally {
    state.gradientDepth = 0;
    recording = null;
    state.activeTape = null as unknown as State['activeTape'];
    for (const operation of operations) forget(operation);
  }
}

/** An empty tape that takes in nothing but what depends on `inputs`. */
function tapeFrom(inputs: readonly Tensor[]): Tape {
  const dependent = new Set(inputs.map(({ id }) => id));
  const depends = ({ id }: Tensor): boolean => dependent.has(id);
  const operations: Recorded[] = [];
  const push = (operation: Recorded): number => {
    if (!Object.values(operation.inputs).some(depends)) {
      forget(operation);
      return operations.length;
    }
    for (const { id } of operation.outputs) dependent.add(id);
    operations[operations.length] = operation;
    return operations.length;
  };
  // The library appends to the array that it is given.
  return { operations: Object.assign(operations, { push }), depends };
}

function goBack(value: Tensor, inputs: readonly Tensor[], { operations, depends }: Tape): (Tensor | null)[] {
  const gradients = new Map<number, Tensor>([[value.id, ones(value.shape)]]);
  for (let operation = operations.pop(); operation !== undefined; operation = operations.pop()) {
    const upstream = operation.outputs.map(({ id }) => gradients.get(id) ?? null);
    if (upstream.some((gradient) => gradient !== null)) {
      for (const [id, gradient] of gradientsOf(operation, upstream, depends)) {
        const present = gradients.get(id);
        gradients.set(id, present === undefined ? gradient : add(present, gradient));
        if (present !== undefined) for (const summand of [present, gradient]) summand.dispose();
      }
      for (const { id } of operation.outputs) {
        gradients.get(id)?.dispose();
        gradients.delete(id);
      }
    }
    forget(operation);
  }
  return inputs.map(({ id }) => gradients.get(id) ?? null);
}

/** What an operation adds to the gradients of its inputs, each a tensor of its own. */
function gradientsOf(
  { kernelName, gradient: backward, inputs }: Recorded,
  upstream: readonly (Tensor | null)[],
  depends: Tape['depends'],
): (readonly [number, Tensor])[] {
  assert(backward !== undefined, `${kernelName} has a gradient`);
  const wanted = Object.entries(inputs).filter(([, input]) => depends(input));
  const found = tidy(() => {
    const ways = backward([...upstream] as Tensor[]);
    const taken = new Set<Tensor | null>(upstream);
    return wanted.map(([name, input]) => {
      const gradient = tidy(() => ways[name]!());
      assert(util.arraysEqual(gradient.shape, input.shape), `${kernelName} gives gradients in the shape of its inputs`);
      const own = taken.has(gradient) ? clone(gradient) : gradient;
      taken.add(own);
      return own;
    });
  });
  return wanted.map(([, { id }], index) => [id, found[index]!]);
}

function forget({ saved }: Recorded): void {
  for (const tensor of saved ?? []) tensor.dispose();
}
