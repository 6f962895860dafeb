/** Holds what a case computed against the reference. */
import type { Findings } from './case.ts';
import { entryOf, floatsOf, gradientPrefix } from './fixture-files.ts';

/**
 * Largest errors that pass: of outputs absolute, of a gradient relative to its largest reference value, or to `gradientFloor` where all are
 * smaller. The fixtures ask for less, a floor of 1; but some of their gradients have no value above 0.002, and would pass if they were zero.
 */
const tolerances = { outputs: 2e-4, gradients: 1e-3 } as const;
const gradientFloor = 0.01;

/** The largest errors of a case and everything that is wrong with it. */
export interface Comparison {
  /** Null where the case could not be run. */
  readonly outputs: number | null;
  /** Null also where the reference has no gradients. */
  readonly gradients: number | null;
  readonly faults: readonly string[];
}

const inputs: ReadonlySet<string> = new Set(['input_ids', 'attention_mask', 'probe']);

/** Compares all outputs and gradients. Both sides must have the same names. */
export function compare({ expected, outputs, gradients, inputs: further }: Findings): Comparison {
  const faults: string[] = [];
  const names = [...expected.tensors.keys()];
  const gradientNames = names.filter((name) => name.startsWith(gradientPrefix));
  const isInput = (name: string) => inputs.has(name) || further?.test(name) === true;
  const outputNames = names.filter((name) => !isInput(name) && !name.startsWith(gradientPrefix));
  if (outputNames.length === 0) faults.push('the reference has no output');
  const foundGradients = new Map([...gradients].map(([name, values]) => [`${gradientPrefix}${name}`, values]));
  for (const [what, reference, found] of [
    ['output', outputNames, outputs],
    ['gradient', gradientNames, foundGradients],
  ] as const) {
    for (const name of reference) if (!found.has(name)) faults.push(`no ${what} ${name} was computed`);
    for (const name of found.keys())
      if (!expected.tensors.has(name)) faults.push(`the reference has no ${what} ${name}`);
  }
  const largest = (found: ReadonlyMap<string, Float32Array>, what: keyof typeof tolerances): number => {
    let worst = 0;
    for (const [name, values] of found) {
      if (!expected.tensors.has(name)) continue;
      const error = errorOf(values, floatsOf(expected, name), what === 'gradients');
      // Written so that NaN fails.
      if (!(error <= tolerances[what])) {
        faults.push(`${name} ${shapeText(entryOf(expected, name).shape)} is off by ${error.toExponential(1)}`);
      }
      worst = Math.max(worst, error);
    }
    return worst;
  };
  const worstOutput = largest(outputs, 'outputs');
  return {
    outputs: worstOutput,
    gradients: gradientNames.length === 0 ? null : largest(foundGradients, 'gradients'),
    faults,
  };
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** The largest absolute error, or that in relation to the largest reference value. */
function errorOf(found: Float32Array, expected: Float32Array, isRelative: boolean): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  let error = 0;
  let scale = gradientFloor;
  for (const [index, value] of expected.entries()) {
    const difference = Math.abs(found[index]! - value);
    if (!(difference <= error)) error = difference;
    if (Number.isNaN(error)) return error;
    scale = Math.max(scale, Math.abs(value));
  }
  return isRelative ? error / scale : error;
}
