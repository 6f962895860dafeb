/**
 * Whole adapters on or off: a gate z in [0, 1] for every half of a block multiplies what an adapter changes there, and learns to be exactly 0
 * where the adapter is not worth it. Hard concrete gates (Louizos 2018, section 2.2) with a trained log α for each site, `[layers, 2]`:
 *
 *     training    s = sigmoid((log u − log(1 − u) + log α) / β), u uniform     evaluation  s = sigmoid(log α)
 *     z = min(1, max(0, s (ζ − γ) + γ)) with β = 2/3, γ = −0.1, ζ = 1.1
 *
 * `penalty` times the expected number of open gates, Σ sigmoid(log α − β log(−γ / ζ)), is part of the loss. A closed gate costs nothing: the
 * member is not run there. Whether it is closed is read from the back end in the middle of the pass, so it must be one that can be read at
 * once. Gates start open nine times out of ten.
 */
import {
  add,
  clipByValue,
  mul,
  reshape,
  type Scalar,
  sigmoid,
  slice,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
} from '@tensorflow/tfjs-core';
import type { BaseDescription, Sublayer } from '../../model/base-model.ts';
import { numberField, sectionField } from '../../plan/fields.ts';
import type { TensorSpecification } from '../../update/layout.ts';
import type { AdapterContext } from '../method.ts';
import { tensorOf } from '../named-tensor.ts';
import { parseSettings, refuseSettings } from '../settings.ts';
import { type AdapterHooks, sublayerChange } from '../sublayer-change.ts';
import { bindMembers, type CompositionBinder, composed, membersField, reachOf, refuseOtherHooks } from './members.ts';

const [beta, gamma, zeta] = [2 / 3, -0.1, 1.1];
/** log α of a gate that is open with probability 0.9 before it is stretched. */
const openLogit = Math.log(9);
const logitsName = 'gate.logits';
const sublayers: readonly Sublayer[] = ['attention', 'feedForward'];

const schema = sectionField({
  members: membersField(1),
  /** Weight of the expected number of open gates in the loss. */
  penalty: numberField({ atLeast: 0 }),
});

/** Binds `gate`: one member that acts at linear maps or at the ends of sublayers. */
export const bindGate: CompositionBinder = (value, base, bindMember) => {
  const { members: asked, penalty } = parseSettings('gate', schema, value);
  const { members, configurations } = bindMembers('gate', asked, { base, bindMember });
  if (members.length !== 1) {
    const sentence = `must be one adapter, found ${members.length}; compose them first`;
    refuseSettings('gate', [{ path: 'members', sentence }]);
  }
  refuseOtherHooks('gate', members, ['linear', 'sublayer']);
  const logits: TensorSpecification = {
    name: logitsName,
    shape: [base.layerCount, sublayers.length],
    aggregationClass: 'mean',
    decays: false,
  };
  const initialise = () => new Float32Array(base.layerCount * sublayers.length).fill(openLogit);
  return composed({
    method: 'gate',
    configuration: { members: configurations, penalty },
    members,
    own: { tensors: [logits], initialise },
    hooks: ([member], context) => gateHooks(member!, { base, penalty, context }),
  });
};

interface GateOptions {
  readonly base: BaseDescription;
  readonly penalty: number;
  readonly context: AdapterContext;
}

function gateHooks(member: AdapterHooks, { base, penalty, context }: GateOptions): AdapterHooks {
  const noise = noiseOf(base, context);
  let values: readonly number[] | null = null;
  /** z of one site, or null where it is closed. */
  const gateAt = (layerIndex: number, sublayer: Sublayer): Tensor1D | null => {
    const logits: Tensor1D = reshape(tensorOf<Tensor2D>(context, logitsName), [-1]);
    if (values === null) {
      values = Array.from(logits.dataSync(), (logit, place) => hardConcrete(logit, noise[place]!, context.training));
      reportGates(logits, penalty, context);
    }
    const place = layerIndex * sublayers.length + sublayers.indexOf(sublayer);
    if (values[place] === 0) return null;
    const own = slice(logits, place, 1);
    const soft = context.training ? sigmoid(mul(add(own, noise[place]!), 1 / beta)) : sigmoid(own);
    return clipByValue(add(mul(soft, zeta - gamma), gamma), 0, 1);
  };
  const { linear, change } = member;
  const attentionTargets: readonly string[] = ['q', 'k', 'v', 'qkv', 'o'];
  const gatedLinear: AdapterHooks['linear'] = (site, input, output, map) => {
    const gate = gateAt(site.layerIndex, attentionTargets.includes(site.target) ? 'attention' : 'feedForward');
    const replaced = gate === null ? undefined : linear?.(site, input, output, map);
    return replaced === undefined || gate === null ? undefined : add(output, mul(sub(replaced, output), gate));
  };
  return {
    ...reachOf([member]),
    ...(linear === undefined ? {} : { linear: gatedLinear }),
    ...(change === undefined
      ? {}
      : sublayerChange((site, ...states) => {
          const gate = gateAt(site.layerIndex, site.sublayer);
          const added = gate === null ? undefined : change(site, ...states);
          return added === undefined || gate === null ? undefined : mul(added, gate);
        })),
  };
}

/** log u − log(1 − u) for every gate, from the seed of the pass. */
function noiseOf({ layerCount }: BaseDescription, { random: source }: AdapterContext): readonly number[] {
  const random = source.fork('gate');
  return Array.from({ length: layerCount * sublayers.length }, () => {
    // Away from 0 and 1, where the logarithm ends.
    const u = Math.min(1 - 1e-6, Math.max(1e-6, random.uniform()));
    return Math.log(u) - Math.log(1 - u);
  });
}

/** z of one gate. */
function hardConcrete(logit: number, noise: number, training: boolean): number {
  const soft = 1 / (1 + Math.exp(-(training ? (logit + noise) / beta : logit)));
  return Math.min(1, Math.max(0, soft * (zeta - gamma) + gamma));
}

/** The loss on open gates, and the probability with which each is open. */
function reportGates(logits: Tensor1D, penalty: number, context: AdapterContext): void {
  const open = sigmoid(sub(logits, beta * Math.log(-gamma / zeta)));
  if (penalty > 0) context.addLoss?.('gate.open', mul<Scalar>(sum(open), penalty));
  context.observe?.('gate.open', open);
}
