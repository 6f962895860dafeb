/**
 * What the comparison of methods compares: every adapter method with the settings of its paper, scaled to a base of another width where the paper
 * names a width, beside a linear probe, full fine-tuning of the same base, and naive Bayes.
 */
import type { Plan } from '../../shared/plan/plan.ts';

/** One line of the table. */
export interface Contender {
  readonly name: string;
  /** What trains it: an adapter's settings; adapters of groups of labels and then their fusion; counting words. */
  readonly learner:
    | { readonly kind: 'adapter'; readonly adapter: Plan['adapter'] }
    | { readonly kind: 'fusion'; readonly member: Plan['adapter']; readonly groups: number }
    | { readonly kind: 'naive-bayes' };
  /** Settings, as a reader of the table wants to know them. */
  readonly settings: string;
}

const adapter = (name: string, settings: string, own: Plan['adapter']): Contender => ({
  name,
  learner: { kind: 'adapter', adapter: own },
  settings,
});

/** Width of the models that the papers adapt, and of the base that ships. */
const [paperWidth, width] = [768, 128];
const veraRank = Math.round((256 * width) / paperWidth);

/** The lines of the table, in its order. */
export const contenders: readonly Contender[] = [
  { name: 'naive-bayes', learner: { kind: 'naive-bayes' }, settings: 'words and word pairs, no base' },
  adapter('probe', 'a linear head on the frozen base', { method: 'none' }),
  adapter('full', 'every tensor of the base', { method: 'full' }),
  adapter('bias', 'biases of all linear maps (BitFit)', { method: 'bias' }),
  adapter('pfeiffer', 'bottleneck of hidden / 16 after the feed-forward', { method: 'bottleneck' }),
  adapter('houlsby', 'bottleneck of hidden / 16 after both halves', { method: 'bottleneck', placement: 'houlsby' }),
  adapter('parallel', 'bottleneck of hidden / 2 beside the feed-forward, times 4', {
    method: 'bottleneck',
    placement: 'parallel',
  }),
  adapter('adapterplus', 'bottleneck of hidden / 96, here 1, scale per channel, drop path 0.1', {
    method: 'bottleneck',
    placement: 'adapterplus',
  }),
  adapter('compacter', 'Compacter++ of hidden / 16, dimension 4', { method: 'compacter', reductionFactor: 16 }),
  adapter('lora', 'rank 8, alpha 16, the fused query, key and value', { method: 'lora' }),
  adapter('dora', 'as lora', { method: 'dora' }),
  adapter('vera', `rank ${veraRank} (256 at width 768), the fused query, key and value`, {
    method: 'vera',
    rank: veraRank,
  }),
  adapter('ia3', 'as PEFT: keys, values, inputs of the down map', { method: 'ia3' }),
  adapter('ia3-adapterhub', 'as AdapterHub: keys, values, outputs of the up map', {
    method: 'ia3',
    variant: 'adapterhub',
  }),
  adapter('prefix', '30 positions', { method: 'prefix' }),
  adapter('prompt', '10 vectors', { method: 'prompt' }),
  adapter('invertible+pfeiffer', 'an invertible adapter at the embeddings below pfeiffer', {
    method: 'stack',
    members: [
      { id: 'inputs', method: 'invertible' },
      { id: 'task', method: 'bottleneck' },
    ],
  }),
  adapter('mixture', '4 experts of hidden / 16, 2 for each token', { method: 'mixture' }),
  adapter('hyperformer', 'HyperFormer++ of hidden / 32 with one task', { method: 'hyperformer' }),
  {
    name: 'fusion',
    learner: { kind: 'fusion', member: { method: 'bottleneck' }, groups: 3 },
    settings: 'three pfeiffer adapters, each of a third of the labels, frozen under AdapterFusion',
  },
];

/** Names that `--methods` takes. */
export const contenderNames: readonly string[] = contenders.map(({ name }) => name);
