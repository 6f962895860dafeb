/**
 * Folds trained scales into the map before them: W_up ← W_up diag(s), c_up ← s ∘ c_up, s ← 1. The adapter computes the same, and a mean over clients is then
 * a mean of what they add, since mean(s) mean(W_up) is not mean(s W_up).
 */

/** `parameters` of one adapter by name, with every `scale` folded; tensors without one are handed on as they are. */
export function foldScale(parameters: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  const folded = new Map(parameters);
  for (const [name, scale] of parameters) {
    const site = /^(.+\.bottleneck)\.scale$/.exec(name)?.[1];
    if (site === undefined) continue;
    for (const part of ['up.kernel', 'up.bias']) {
      const values = parameters.get(`${site}.${part}`)!;
      // The scale runs over the last axis, or is one value for all.
      folded.set(
        `${site}.${part}`,
        values.map((value, index) => value * scale[index % scale.length]!),
      );
    }
    folded.set(name, new Float32Array(scale.length).fill(1));
  }
  return folded;
}
