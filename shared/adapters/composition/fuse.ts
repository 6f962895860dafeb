/**
 * AdapterFusion (Pfeiffer 2021, section 3.2): attention over what N adapters would change, at every site where any of them acts. With u_i the
 * change of adapter i and q = LN(h + x) (q = h + x on a pre-norm base):
 *
 *     s_i = (W_q q + c_q) · (W_k u_i + c_k),   α = softmax(s / T) over the adapters,   change = W_v Σ α_i u_i
 *
 * for each token, without a division by √d. W_q, W_k and W_v are `[hidden, hidden]`; W_v starts as the identity and is held near it by
 * λ Σ ‖I − W_v‖²_F over the sites, which is part of the loss (AdapterHub adds it to gradients one step late). Products with W_k and W_v
 * run once for each token, not once for each adapter: s_i = u_i · (W_kᵀ q') + q' · c_k with q' = W_q q + c_q.
 *
 * With `rank` r, a variant of 4 r d parameters a site in place of 3 d² + 2 d, for clients with little memory: W_q and W_k are `[hidden, r]`
 * without biases and W_v = I + V_a V_b with V_b zero at the start.
 *
 * Two stages: members are frozen unless one says `frozen: false`; `composeDocuments` fills in what they learned. All members read their own
 * inputs; AdapterHub gives all that of the last, which is the same where they are placed alike.
 */
import {
  add,
  concat,
  div,
  eye,
  mul,
  reshape,
  type Scalar,
  softmax,
  split,
  square,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  transpose,
} from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableLinear, trainableMatMul } from '../../compute/products.ts';
import type { SeededRandom } from '../../core/random.ts';
import type { BaseDescription, Sublayer, SublayerSite } from '../../model/base-model.ts';
import { booleanField, numberField, sectionField, wholeField } from '../../plan/fields.ts';
import type { TensorSpecification } from '../../update/layout.ts';
import { dropout } from '../dropout.ts';
import { kaimingUniform, normalValues, zeroValues } from '../initial-values.ts';
import type { AdapterContext } from '../method.ts';
import { tensorOf } from '../named-tensor.ts';
import { parseSettings } from '../settings.ts';
import { type AdapterHooks, finishSublayer, type SublayerChange, sublayerChange } from '../sublayer-change.ts';
import {
  bindMembers,
  type CompositionBinder,
  composed,
  hooksOf,
  type Member,
  membersField,
  reachOf,
  refuseOtherHooks,
} from './members.ts';

const schema = sectionField({
  members: membersField(2),
  /** Width of queries, keys and the correction of values in the low-rank variant; absent: full matrices. */
  rank: z.optional(wholeField(1, 65_536)),
  /** Whether there is W_v: `Dynamic` fusion of AdapterHub; without it `Static`. */
  value: z._default(booleanField(), true),
  /** Whether q is h itself and not the normed sum. */
  queryBeforeNorm: z._default(booleanField(), false),
  /** T: a number, or where it starts and what each local step takes from it until it is 1 (AdapterHub has 50 and 0.05). */
  temperature: z._default(
    z.union(
      [
        numberField({ above: 0 }),
        sectionField({ start: numberField({ atLeast: 1 }), decrease: numberField({ above: 0 }) }),
      ],
      {
        error: 'a number above 0, or a section with the fields start (at least 1) and decrease (above 0)',
      },
    ),
    1,
  ),
  /** λ. */
  regularisation: z._default(numberField({ atLeast: 0 }), 0.01),
  /** Probability with which a score is dropped in training. */
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
});
type FusionSettings = Omit<z.output<typeof schema>, 'members'>;

/** Binds `fuse`. Members act at the ends of sublayers. */
export const bindFuse: CompositionBinder = (value, base, bindMember) => {
  const { members: asked, ...settings } = parseSettings('fuse', schema, value);
  const { members, configurations } = bindMembers('fuse', asked, { base, bindMember, frozen: true });
  refuseOtherHooks('fuse', members, ['sublayer']);
  const sites = sitesOf(members, base);
  const tensors = sites.flatMap((site) => siteTensors(site, base, settings));
  return composed({
    method: 'fuse',
    configuration: { members: configurations, ...settings },
    members,
    own: { tensors, initialise },
    hooks: (hooks, context) => fuseHooks(hooks, settings, context),
  });
};

const sublayers: readonly Sublayer[] = ['attention', 'feedForward'];

function siteName({ layerIndex, sublayer }: SublayerSite): string {
  return `fusion.layers.${layerIndex}.${sublayer}`;
}

/**
 * The sites at which any member acts, in the order of the base, as the names of its tensors say; of a member whose tensors name no sites
 * (hypernetworks), all from its lowest layer on.
 */
function sitesOf(members: readonly Member[], { layerCount }: BaseDescription): readonly SublayerSite[] {
  const all = Array.from({ length: layerCount }, (_, layerIndex) =>
    sublayers.map((sublayer): SublayerSite => ({ layerIndex, sublayer })),
  ).flat();
  const taken = new Set(
    members.flatMap((member) => {
      const named = member.adapter.tensors.flatMap(({ name }) => {
        const match = /(?:^|\.)layers\.(\d+)\.(attention|feedForward)\./.exec(name);
        return match === null ? [] : [siteName({ layerIndex: Number(match[1]), sublayer: match[2] as Sublayer })];
      });
      const { lowestLayerIndex = 0 } = hooksOf(member);
      return named.length > 0 ? named : all.filter(({ layerIndex }) => layerIndex >= lowestLayerIndex).map(siteName);
    }),
  );
  return all.filter((site) => taken.has(siteName(site)));
}

function siteTensors(
  site: SublayerSite,
  { hiddenSize }: BaseDescription,
  { rank, value }: FusionSettings,
): TensorSpecification[] {
  const tensor = (part: string, shape: readonly number[]): TensorSpecification => ({
    name: `${siteName(site)}.${part}`,
    shape,
    aggregationClass: 'mean',
    // The value matrix has its own regulariser, towards the identity.
    decays: part.startsWith('query.kernel') || part.startsWith('key.kernel'),
  });
  if (rank !== undefined) {
    const outer = [hiddenSize, rank];
    const values = value ? [tensor('value.down', outer), tensor('value.up', [rank, hiddenSize])] : [];
    return [tensor('query.kernel', outer), tensor('key.kernel', outer), ...values];
  }
  const full = [hiddenSize, hiddenSize];
  return [
    tensor('query.kernel', full),
    tensor('query.bias', [hiddenSize]),
    tensor('key.kernel', full),
    tensor('key.bias', [hiddenSize]),
    ...(value ? [tensor('value.kernel', full)] : []),
  ];
}

function initialise({ name, shape }: TensorSpecification, random: SeededRandom): Float32Array {
  if (name.endsWith('.bias') || name.endsWith('.value.up')) return zeroValues(shape);
  if (name.endsWith('.value.down')) return kaimingUniform(shape, shape[0]!, random);
  if (!name.endsWith('.value.kernel')) return normalValues(shape, 0.02, random);
  const size = shape[0]!;
  return zeroValues(shape).map((_, index) => (index % (size + 1) === 0 ? 1 : 1e-6));
}

function fuseHooks(members: readonly AdapterHooks[], settings: FusionSettings, context: AdapterContext): AdapterHooks {
  const change: SublayerChange = (site, output, residual, norm) => {
    const changes = members.flatMap(({ change: own }) => own?.(site, output, residual, norm) ?? []);
    if (changes.length === 0) return undefined;
    const query = settings.queryBeforeNorm ? output : finishSublayer(output, residual, norm);
    return fuse(changes, query, siteName(site), settings, context);
  };
  return { ...reachOf(members), ...sublayerChange(change) };
}

/** W_v Σ α_i u_i; all `[batch, sequence, hidden]`. */
function fuse(
  changes: readonly Tensor3D[],
  query: Tensor3D,
  site: string,
  settings: FusionSettings,
  context: AdapterContext,
): Tensor3D {
  const { value, rank } = settings;
  const temperature = temperatureOf(settings, context);
  const rows = changes.map((change) => rowsOf(change));
  const named = <Kind extends Tensor>(part: string): Kind => tensorOf<Kind>(context, `${site}.${part}`);
  const queryKernel = named<Tensor2D>('query.kernel');
  const asked =
    rank === undefined
      ? trainableLinear(rowsOf(query), queryKernel, named<Tensor1D>('query.bias'))
      : trainableMatMul(rowsOf(query), queryKernel);
  const wanted = trainableMatMul(asked, transpose(named<Tensor2D>('key.kernel')));
  const bias = rank === undefined ? sum(mul(asked, named<Tensor1D>('key.bias')), 1, true) : undefined;
  const scores = rows.map((own): Tensor2D => {
    const score = sum(mul(own, wanted), 1, true);
    return bias === undefined ? (score as Tensor2D) : add(score, bias);
  });
  const kept = dropout(concat(scores, 1), settings.dropout, context, `${site}.scores`);
  const attention: Tensor2D = softmax(temperature === 1 ? kept : div(kept, temperature));
  context.observe?.(`${site}.attention`, attention);
  const shares: Tensor2D[] = split(attention, rows.length, 1);
  const mixed = rows.map((own, index): Tensor2D => mul(own, shares[index]!)).reduce((left, right) => add(left, right));
  if (!value) return reshape(mixed, query.shape);
  if (rank === undefined) {
    const kernel = named<Tensor2D>('value.kernel');
    context.addLoss?.(`${site}.value`, mul<Scalar>(distanceToIdentity(kernel), settings.regularisation));
    return reshape(trainableMatMul(mixed, kernel), query.shape);
  }
  const [down, up] = [named<Tensor2D>('value.down'), named<Tensor2D>('value.up')];
  context.addLoss?.(`${site}.value`, mul<Scalar>(productNorm(down, up), settings.regularisation));
  return reshape(add(mixed, trainableMatMul(trainableMatMul(mixed, down), up)), query.shape);
}

/** T of a pass; after training that at which a schedule ends. */
function temperatureOf({ temperature }: FusionSettings, { step }: AdapterContext): number {
  if (typeof temperature === 'number') return temperature;
  return step === undefined ? 1 : Math.max(1, temperature.start - temperature.decrease * step);
}

function rowsOf(states: Tensor3D): Tensor2D {
  return reshape(states, [-1, states.shape[2]]);
}

/** ‖I − W‖²_F. */
function distanceToIdentity(kernel: Tensor2D): Tensor {
  return sum(square(sub(kernel, eye(kernel.shape[0]))));
}

/** ‖A B‖²_F for `[d, r]` and `[r, d]` without their product: the sum over (AᵀA) ∘ (BBᵀ), which are `[r, r]`. */
function productNorm(down: Tensor2D, up: Tensor2D): Tensor {
  return sum(mul(trainableMatMul(transpose(down), down), trainableMatMul(up, transpose(up))));
}
