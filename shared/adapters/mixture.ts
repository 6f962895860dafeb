/**
 * A mixture of bottleneck adapters (Shazeer 2017; Fedus 2022; Wang 2022, AdaMix, for adapters as experts): at every site a router sends each token
 * to k of E experts,
 *
 *     g = W_g u   p = softmax(g)   change = Σ_{e among the k} p̂_e A_e(u)
 *
 * p̂ is p over the k renormalised to 1, for k = 1 p itself (so that the router learns). W_g `[hidden, experts]` starts as N(0, 0.02²), each A_e
 * as a bottleneck does, without a change. In training u may be jittered for the router, u ∘ U(1 − j, 1 + j) (Fedus 2022), or the logits be
 * noised, g + ε softplus(W_n u) with W_n zero at the start (Shazeer 2017, equation 4). Losses and capacity: `routing.ts`.
 *
 * Experts compute for their own tokens and no others, forward and backward: the cost is that of k experts whatever E is, and padding costs
 * nothing. Which tokens these are must be known before the products, so the router's probabilities are read from the back end in the middle
 * of a pass: on those that cannot be read at once (WebGPU) a mixture cannot run.
 *
 * In a federation the tensors of an expert weigh by how many tokens a client gave it, which the statistic `uses` counts.
 */
import {
  add,
  div,
  mean,
  mul,
  reshape,
  type Scalar,
  softmax,
  softplus,
  sum,
  type Tensor2D,
  type Tensor3D,
  tensor1d,
  tensor2d,
  zerosLike,
} from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { groupedLinear, type RowGroup } from '../compute/grouped-linear.ts';
import { trainableMatMul } from '../compute/products.ts';
import { addRows, takeRows } from '../compute/rows.ts';
import type { SeededRandom } from '../core/random.ts';
import type { BaseDescription, SublayerSite } from '../model/base-model.ts';
import { booleanField, choiceField, numberField, sectionField, wholeField } from '../plan/fields.ts';
import type { Problem } from '../plan/problems.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { type ActivationName, activate, activationNames } from './activations.ts';
import { chooseWidth, type WidthSettings, widthFields, widthOf, wiringOf } from './bottleneck-configuration.ts';
import { denseTensors } from './bottleneck-core.ts';
import { changeOf } from './bottleneck-wiring.ts';
import { dropout } from './dropout.ts';
import { kaimingUniform, normalValues, zeroValues } from './initial-values.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { balanceLoss, type Dispatch, dispatchTokens, routerLoss } from './routing.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';
import { sublayerChange } from './sublayer-change.ts';
import { tokenMask } from './token-mask.ts';

/** Settings of `mixture` with defaults filled in. */
export interface MixtureConfiguration extends LayerChoice, WidthSettings {
  /** Where it stands and what it reads, as for `bottleneck`. Default `pfeiffer`. */
  readonly placement: 'pfeiffer' | 'houlsby' | 'parallel';
  /** E. Default 4. */
  readonly experts: number;
  /** k. Default 2. */
  readonly choices: number;
  /** σ of the experts. Default `relu`. */
  readonly activation: ActivationName;
  readonly dropout: number;
  /** j; 0 (default) for none. */
  readonly jitter: number;
  /** Whether logits are noised in training. Default false. */
  readonly noise: boolean;
  /** Weight of the balance loss. Default 0.01. */
  readonly balanceLoss: number;
  /** Weight of the loss on logits. Default 0.001. */
  readonly routerLoss: number;
  /** Capacity in training and in evaluation: this times k · tokens / E of a text, rounded up. Absent: no limit. */
  readonly capacityFactor?: number | undefined;
  readonly evaluationCapacityFactor?: number | undefined;
}

const expertsMax = 256;
const schema = sectionField({
  placement: z._default(choiceField(['pfeiffer', 'houlsby', 'parallel']), 'pfeiffer'),
  ...widthFields,
  experts: z._default(wholeField(2, expertsMax), 4),
  choices: z._default(wholeField(1, expertsMax), 2),
  activation: z._default(choiceField(activationNames), 'relu'),
  dropout: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  jitter: z._default(numberField({ atLeast: 0, below: 1 }), 0),
  noise: z._default(booleanField(), false),
  balanceLoss: z._default(numberField({ atLeast: 0 }), 0.01),
  routerLoss: z._default(numberField({ atLeast: 0 }), 0.001),
  capacityFactor: z.optional(numberField({ above: 0 })),
  evaluationCapacityFactor: z.optional(numberField({ above: 0 })),
  ...layerFields,
});

function parse(value: unknown, base: BaseDescription): MixtureConfiguration {
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(parseSettings('mixture', schema, value), base, problems);
  const { reductionFactor, size, ...settings } = others;
  const width = chooseWidth({ reductionFactor, size }, 16, chosen.layers, base, problems);
  if (settings.choices > settings.experts) {
    const sentence = `must be at most the number of experts, ${settings.experts}, found ${settings.choices}`;
    problems.push({ path: 'choices', sentence });
  }
  if (problems.length > 0) refuseSettings('mixture', problems);
  return { ...settings, ...width, ...chosen };
}

function siteName({ layerIndex, sublayer }: SublayerSite): string {
  return `layers.${layerIndex}.${sublayer}.mixture`;
}

function siteTensors(site: string, hiddenSize: number, width: number, configuration: MixtureConfiguration) {
  const { experts, noise } = configuration;
  const countName = `${site}.uses`;
  const router = { shape: [hiddenSize, experts], aggregationClass: 'mean', decays: true } as const;
  const ofExperts = Array.from({ length: experts }, (_, countIndex) =>
    denseTensors(`${site}.experts.${countIndex}`, hiddenSize, width).map(
      (tensor): TensorSpecification => ({ ...tensor, aggregationClass: 'count-weighted', countName, countIndex }),
    ),
  );
  const tensors: TensorSpecification[] = [
    { name: `${site}.router.kernel`, ...router },
    ...(noise ? [{ name: `${site}.noise.kernel`, ...router }] : []),
    ...ofExperts.flat(),
    { name: countName, shape: [experts], aggregationClass: 'count', decays: false },
  ];
  return tensors;
}

function initialise({ name, shape }: TensorSpecification, _: MixtureConfiguration, random: SeededRandom): Float32Array {
  if (name.endsWith('.router.kernel')) return normalValues(shape, 0.02, random);
  return name.endsWith('.down.kernel') ? kaimingUniform(shape, shape[0]!, random) : zeroValues(shape);
}

/** The method `mixture`. */
export const mixture: AdapterMethod<MixtureConfiguration> = {
  name: 'mixture',
  parse,
  layout: ({ hiddenSize }, configuration) =>
    configuration.layers.flatMap((layerIndex) =>
      wiringOf({ placement: configuration.placement }).sublayers.flatMap((sublayer) => {
        const width = widthOf(configuration, layerIndex, hiddenSize);
        return siteTensors(siteName({ layerIndex, sublayer }), hiddenSize, width, configuration);
      }),
    ),
  initialise,
  hooks: (_, configuration, context) => {
    const { layers, placement } = configuration;
    const wiring = wiringOf({ placement });
    return {
      lowestLayerIndex: Math.min(...layers),
      ...sublayerChange((site, output, residual, norm) => {
        if (!layers.includes(site.layerIndex) || !wiring.sublayers.includes(site.sublayer)) return undefined;
        const mix = (input: Tensor3D) => mixed(input, siteName(site), configuration, context);
        const end = { output, residual, norm, parallelInput: undefined };
        return changeOf(wiring, end, { adapt: mix, ownNorm: undefined, residualBeforeNorm: false });
      }),
    };
  },
};

/** Σ p̂_e A_e(u) for `input` u, both `[batch, sequence, hidden]`; zero on padding. */
function mixed(input: Tensor3D, site: string, configuration: MixtureConfiguration, context: AdapterContext): Tensor3D {
  const { experts: expertCount, choices, activation } = configuration;
  const [batchSize, sequenceLength, hiddenSize] = input.shape;
  const rows: Tensor2D = reshape(input, [batchSize * sequenceLength, hiddenSize]);
  const places = placesOf(tokenMask(context, input), batchSize * sequenceLength);
  const groups = places.map((place) => Math.floor(place / sequenceLength));
  const tokens = places.length === rows.shape[0] ? rows : takeRows(rows, places);
  const logits = routerLogits(tokens, site, configuration, context);
  const probabilities: Tensor2D = softmax(logits);
  const dispatch = dispatchTokens({
    probabilities: probabilities.dataSync() as Float32Array,
    expertCount,
    choices,
    groups,
    capacityOf: (count) => capacityOf(count, configuration, context.training),
  });
  const routing = { expertCount, choices, groups };
  const { balanceLoss: balance, routerLoss: calm } = configuration;
  if (balance > 0)
    context.addLoss?.(`${site}.balance`, mul<Scalar>(balanceLoss(probabilities, dispatch, routing), balance));
  if (calm > 0) context.addLoss?.(`${site}.router`, mul<Scalar>(routerLoss(logits), calm));
  report(site, probabilities, dispatch, context);

  const order = dispatch.tokens.flat();
  if (order.length === 0) return zerosLike(input);
  const target = order.map((token) => places[token]!);
  const groupsOf = (part: 'down' | 'up'): RowGroup[] =>
    dispatch.tokens.flatMap(({ length: count }, expert) => {
      const name = `${site}.experts.${expert}.${part}`;
      if (count === 0) return [];
      return [{ count, weight: tensorOf(context, `${name}.kernel`), bias: tensorOf(context, `${name}.bias`) }];
    });
  const inner = activate(activation, groupedLinear(takeRows(rows, target), groupsOf('down')));
  const results = dropout(groupedLinear(inner, groupsOf('up')), configuration.dropout, context, site);
  const weights = dispatchWeights(probabilities, dispatch, order, configuration);
  return reshape(addRows(mul(results, weights), target, rows.shape[0]), input.shape);
}

/** Rows of the batch that are tokens. */
function placesOf(mask: Tensor2D | undefined, rowCount: number): readonly number[] {
  const every = Array.from({ length: rowCount }, (_, place) => place);
  if (mask === undefined) return every;
  const values = mask.dataSync();
  return every.filter((place) => values[place] === 1);
}

/** Logits `[tokens, experts]`. */
function routerLogits(
  tokens: Tensor2D,
  site: string,
  { jitter, noise, experts }: MixtureConfiguration,
  context: AdapterContext,
): Tensor2D {
  const router = tensorOf<Tensor2D>(context, `${site}.router.kernel`);
  if (!context.training || (jitter === 0 && !noise)) return trainableMatMul(tokens, router);
  const random = context.random.fork('routing', site);
  const drawn = (size: number, draw: () => number) => Float32Array.from({ length: size }, draw);
  const factors = () =>
    tensor2d(
      drawn(tokens.size, () => 1 + jitter * (2 * random.uniform() - 1)),
      tokens.shape,
    );
  const seen: Tensor2D = jitter === 0 ? tokens : mul(tokens, factors());
  const clean = trainableMatMul(seen, router);
  if (!noise) return clean;
  const spread = softplus(trainableMatMul(seen, tensorOf<Tensor2D>(context, `${site}.noise.kernel`)));
  const normal = tensor2d(
    drawn(tokens.shape[0] * experts, () => random.normal()),
    [tokens.shape[0], experts],
  );
  return add(clean, mul(normal, spread));
}

function capacityOf(tokenCount: number, configuration: MixtureConfiguration, training: boolean): number {
  const { capacityFactor, evaluationCapacityFactor, choices, experts } = configuration;
  const factor = training ? capacityFactor : evaluationCapacityFactor;
  return factor === undefined ? Number.POSITIVE_INFINITY : Math.ceil((factor * choices * tokenCount) / experts);
}

/** p̂ of every dispatch, `[dispatches, 1]`. */
function dispatchWeights(
  probabilities: Tensor2D,
  { tokens, chosen }: Dispatch,
  order: readonly number[],
  { choices }: MixtureConfiguration,
): Tensor2D {
  const among: Tensor2D = mul(probabilities, tensor2d(chosen, probabilities.shape));
  const shares: Tensor2D = choices === 1 ? among : div(among, sum(among, 1, true));
  const expertCount = tokens.length;
  const picks = new Float32Array(order.length * expertCount);
  let index = 0;
  for (const [expert, own] of tokens.entries()) for (const _ of own) picks[index++ * expertCount + expert] = 1;
  return sum(mul(takeRows(shares, order), tensor2d(picks, [order.length, expertCount])), 1, true);
}

/** Statistics of a pass: tokens by expert, choices that overflowed, and the mean probability of each expert. */
function report(
  site: string,
  probabilities: Tensor2D,
  { tokens, droppedCount }: Dispatch,
  context: AdapterContext,
): void {
  if (context.observe === undefined) return;
  context.observe(`${site}.uses`, tensor1d(tokens.map(({ length }) => length)));
  context.observe(`${site}.dropped`, tensor1d([droppedCount]));
  context.observe(`${site}.probability`, mean(probabilities, 0));
}
