/**
 * The weighted mean of what adapters put out, at every site (Wang 2021, EMEA, who ensemble adapters that way; Chronopoulou 2023, AdapterSoup, for the
 * choice of members by `similarity.ts`): with weights w that sum to 1, h' = h + Σ w_i c_i at the end of a sublayer and y' = y + Σ w_i (y_i − y) at a
 * linear map (`Average` of AdapterHub, without the further factor 1/N of its code). A member that does not act at a site counts there with no
 * change.
 *
 * It is exact: a member at the weight 1 computes what it does alone, and members that are linear in the map are one linear map, so that at fixed
 * weights they merge into the base, W' = W + Σ w_i (W_i − W) with W_i `[in, out]` merged by member i alone. The mean of parameters, which costs one
 * adapter in place of N, is another thing for all but one layer (`merging/`).
 *
 * Weights are fixed, or learned as w = softmax(logits) `[members]`: by all clients together, or `personal`, so that each client mixes the
 * same adapters in its own way and its weights never leave it.
 */
import {
  add,
  mul,
  slice,
  softmax,
  sub,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
} from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { booleanField, choiceField, numberField, sectionField } from '../../plan/fields.ts';
import { shown } from '../../plan/problems.ts';
import type { TensorSpecification } from '../../update/layout.ts';
import type { AdapterContext } from '../method.ts';
import { tensorOf } from '../named-tensor.ts';
import { parseSettings, refuseSettings } from '../settings.ts';
import { type AdapterHooks, sublayerChange } from '../sublayer-change.ts';
import { bindMembers, type CompositionBinder, composed, membersField, reachOf, refuseOtherHooks } from './members.ts';

const weightsError = 'a list of one number of at least 0 for each member, not all 0';
const schema = sectionField({
  members: membersField(1),
  weights: z.optional(z.array(numberField({ atLeast: 0 }), { error: weightsError })),
  normalise: z._default(booleanField(), true),
  learning: z._default(choiceField(['none', 'shared', 'personal']), 'none'),
});

const logitsName = 'average.logits';

/** Binds `average`. Members act at linear maps or at the ends of sublayers. */
export const bindAverage: CompositionBinder = (value, base, bindMember) => {
  const { normalise, learning, ...settings } = parseSettings('average', schema, value);
  const { members, configurations } = bindMembers('average', settings.members, { base, bindMember });
  const asked = settings.weights ?? members.map(() => 1);
  if (asked.length !== members.length || !asked.some((weight) => weight > 0)) {
    const sentence = `must be ${weightsError}, of which there are ${members.length}, found ${shown(asked)}`;
    refuseSettings('average', [{ path: 'weights', sentence }]);
  }
  if (learning !== 'none' && asked.includes(0)) {
    refuseSettings('average', [
      { path: 'weights', sentence: `must be above 0 where they are learned, found ${shown(asked)}` },
    ]);
  }
  if (!normalise && learning !== 'none') {
    refuseSettings('average', [
      { path: 'normalise', sentence: 'must be true where weights are learned, since these sum to 1, found false' },
    ]);
  }
  refuseOtherHooks('average', members, ['linear', 'sublayer']);
  const sum = normalise ? asked.reduce((total, weight) => total + weight, 0) : 1;
  const weights = asked.map((weight) => weight / sum);
  const logits: TensorSpecification = {
    name: logitsName,
    shape: [members.length],
    aggregationClass: learning === 'personal' ? 'local' : 'mean',
    decays: false,
  };
  return composed({
    method: 'average',
    configuration: { members: configurations, weights: asked, normalise, learning },
    members,
    ...(learning === 'none'
      ? { merges: weights }
      : { own: { tensors: [logits], initialise: () => Float32Array.from(weights, (weight) => Math.log(weight)) } }),
    hooks: (hooks, context) => {
      if (learning !== 'none') return averageHooks(hooks, () => learnedWeights(context));
      // Who has no weight is not run.
      const acting = weights.flatMap((weight, index) => (weight === 0 ? [] : [{ weight, hooks: hooks[index]! }]));
      return averageHooks(
        acting.map((one) => one.hooks),
        () => acting.map(({ weight }) => weight),
      );
    },
  });
};

function learnedWeights(context: AdapterContext): Tensor[] {
  const weights: Tensor1D = softmax(tensorOf<Tensor1D>(context, logitsName));
  return Array.from({ length: weights.size }, (_, index) => slice(weights, index, 1));
}

/** The hooks of a mean of adapters; weights are asked for at each site. */
function averageHooks(members: readonly AdapterHooks[], weightsOf: () => readonly (number | Tensor)[]): AdapterHooks {
  const weighted = <States extends Tensor>(parts: readonly (States | undefined)[]): States | undefined => {
    const acting = parts.flatMap((part, index) => (part === undefined ? [] : [{ part, index }]));
    if (acting.length === 0) return undefined;
    const weights = weightsOf();
    return acting
      .map(({ part, index }) => mul(part, weights[index]!) as States)
      .reduce((left, right) => add(left, right));
  };
  const hasLinear = members.some(({ linear }) => linear !== undefined);
  const hasChange = members.some(({ change }) => change !== undefined);
  const linear: AdapterHooks['linear'] = (site, input, output, map) => {
    const parts = members.map((member): Tensor2D | undefined => {
      if (member.linearTargets?.has(site.target) === false) return undefined;
      const replaced = member.linear?.(site, input, output, map);
      return replaced === undefined ? undefined : sub(replaced, output);
    });
    const change = weighted<Tensor2D>(parts);
    return change === undefined ? undefined : add(output, change);
  };
  return {
    ...reachOf(members),
    ...(hasLinear ? { linear } : {}),
    ...(hasChange
      ? sublayerChange((...states) => weighted<Tensor3D>(members.map(({ change }) => change?.(...states))))
      : {}),
  };
}
