/**
 * The adapter methods for people: what each is good for, where it sits, how much it trains, and what it is checked against. Where it sits and how
 * much it trains come from the methods themselves, bound to a base.
 */
import { seededRandom } from '../core/random.ts';
import type { BaseDescription, LinearTarget } from '../model/base-model.ts';
import type { Plan } from '../plan/plan.ts';
import { layoutOf, trainedCount } from '../update/layout.ts';
import { joinedExamples } from './method-names.ts';
import { type BoundAdapter, methodNames, parseAdapter } from './registry.ts';

interface Entry {
  /** Where it was published, by the names that its file gives in full. */
  readonly paper: string;
  readonly purpose: string;
  readonly checks: string;
  /** Names of its cases among the fixtures of parity: what a reference implementation computed. */
  readonly fixtures?: readonly string[];
  /** Settings that show the method where the defaults do not suffice. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** One method on one base. */
export interface GalleryRow extends Omit<Entry, 'settings' | 'fixtures'> {
  readonly fixtures: readonly string[];
  readonly method: string;
  /** The path of a text through the base, one block of it, with what the method acts on in brackets. */
  readonly picture: string;
  /** Trained values with default settings, without a head. */
  readonly parameters: number;
}

const fixtures = { hub: 'AdapterHub', peft: 'PEFT' } as const;
const numeric = 'float64 reference, finite differences';

const entries: Readonly<Record<string, Entry>> = {
  none: {
    paper: 'Alain and Bengio 2016',
    purpose: 'the control: a head alone, which every adapter must beat',
    checks: 'exact identity',
  },
  bottleneck: {
    paper: 'Houlsby 2019, Pfeiffer 2020, He 2022, Steitz and Roth 2024',
    purpose: 'the safe choice for tasks of one site or many; four placements',
    checks: `${fixtures.hub}, golden vectors, ${numeric}`,
    fixtures: [
      'houlsby',
      'parallel',
      'parallel_learned_scale',
      'pfeiffer',
      'pfeiffer_gelu_scaled',
      'pfeiffer_per_layer',
      'pfeiffer_top_only',
    ],
  },
  compacter: {
    paper: 'Mahabadi 2021a',
    purpose: 'the smallest bottleneck, where every byte of an update counts',
    checks: `${fixtures.hub}, golden vector, ${numeric}`,
    fixtures: ['compacter'],
  },
  lora: {
    paper: 'Hu 2021, Kalajdzievski 2023',
    purpose: 'decoders, and whatever is merged into its base for serving; exact rules of aggregation',
    checks: `${fixtures.peft}, ${fixtures.hub}, finite differences`,
    fixtures: [
      'peft_bert_lora',
      'peft_bert_rslora',
      'peft_bert_seqcls',
      'peft_gpt2_lora',
      'peft_gpt2_all_linear',
      'lora_qv',
      'lora_all',
    ],
  },
  dora: {
    paper: 'Liu 2024',
    purpose: 'low ranks that should come close to full training',
    checks: `${fixtures.peft}, golden vector, merged map, finite differences`,
    fixtures: ['peft_bert_dora'],
  },
  vera: {
    paper: 'Kopiczko 2024',
    purpose: 'many adapters in little memory: two vectors a map beside shared random projections',
    checks: `${fixtures.peft}, ${numeric}`,
    fixtures: ['peft_bert_vera'],
  },
  ia3: {
    paper: 'Liu 2022',
    purpose: 'few examples and tiny updates; merges into the base',
    checks: `${fixtures.peft}, ${fixtures.hub}, merged map, finite differences`,
    fixtures: ['peft_bert_ia3', 'ia3'],
  },
  bias: {
    paper: 'Ben Zaken 2022',
    purpose: 'a strong control with almost nothing to send',
    checks: `${numeric}, merged map`,
  },
  prefix: {
    paper: 'Li and Liang 2021',
    purpose: 'generation with a base that must stay as it is, maps and all',
    checks: `${fixtures.peft}, ${fixtures.hub}, finite differences`,
    fixtures: ['peft_gpt2_prefix', 'prefix'],
  },
  prompt: {
    paper: 'Lester 2021',
    purpose: 'large bases with many small tasks; a prompt in vectors',
    checks: `${fixtures.peft}, a prompt of words, finite differences`,
    fixtures: ['peft_gpt2_prompt'],
  },
  invertible: {
    paper: 'Pfeiffer 2020b',
    purpose: 'another language at both ends of the base, below task adapters in a stack',
    checks: numeric,
  },
  full: {
    paper: 'Devlin 2019, Ben Zaken 2022 for parts',
    purpose: 'the other control: the whole base trains, and travels',
    checks: 'identity, w + δ, finite differences through the base, learning what a head alone cannot',
  },
  hyperformer: {
    paper: 'Karimi Mahabadi 2021, Ivison and Peters 2022',
    purpose: 'many related tasks or sites that should teach each other and stay apart',
    checks: 'the published code (both variants), finite differences',
    fixtures: ['hyperformer', 'hyperformer_pp'],
  },
  mixture: {
    paper: 'Shazeer 2017, Fedus 2022',
    purpose: 'mixed texts: more capacity at the cost of the experts a token uses',
    checks: `Transformers (router), golden vector, ${numeric}, counted products`,
    fixtures: ['switch_router'],
  },
  stack: {
    paper: 'Pfeiffer 2020',
    purpose: 'one adapter after the other: a language below a task, a personal part on a shared one',
    checks: `${fixtures.hub}, golden vector, finite differences`,
    fixtures: ['stack2'],
    settings: joinedExamples.stack,
  },
  fuse: {
    paper: 'Pfeiffer 2021',
    purpose: 'learns which of several adapters to listen to, token by token, with them frozen',
    checks: `${fixtures.hub}, golden vector, finite differences`,
    fixtures: ['fusion3'],
    // As in its second stage: members that were trained before.
    settings: { members: joinedExamples.stack.members },
  },
  average: {
    paper: 'Wang 2021, Chronopoulou 2023',
    purpose: 'several adapters at fixed, learned or personal weights; tasks that none was trained for',
    checks: `members alone, ${numeric}`,
    settings: joinedExamples.average,
  },
  gate: {
    paper: 'Louizos 2018',
    purpose: 'finds the layers whose adapters are not worth their cost, and switches them off',
    checks: `expected counts, ${numeric}`,
    settings: joinedExamples.gate,
  },
  split: {
    paper: 'Poth 2023',
    purpose: 'texts of known parts, such as a question before its passage',
    checks: `members alone, ${numeric}`,
    settings: joinedExamples.split,
  },
  parallel: {
    paper: 'Rücklé 2021, Poth 2023',
    purpose: 'several adapters over one batch, each with its own head: tasks or settings side by side in one pass',
    checks: `${fixtures.hub}, members alone, finite differences`,
    fixtures: ['parallel_heads'],
    settings: joinedExamples.parallel,
  },
  'batch-split': {
    paper: 'Poth 2023',
    purpose: 'one batch with rows for many adapters: serving, and simulated cohorts',
    checks: `${fixtures.hub}, members alone, finite differences`,
    fixtures: ['batch_split'],
    settings: joinedExamples['batch-split'],
  },
};

/** All methods on a base. */
export function galleryOf(base: BaseDescription): GalleryRow[] {
  return methodNames.map((method) => {
    const { settings = {}, fixtures: cases = [], ...texts } = entries[method] ?? { paper: '', purpose: '', checks: '' };
    const configuration: Plan['adapter'] = { method, ...settings };
    const adapter = parseAdapter(configuration, base);
    const parameters = method === 'full' ? base.parameterCount : trainedCount(layoutOf(adapter.tensors));
    return { method, ...texts, fixtures: cases, picture: pictureOf(adapter, base), parameters };
  });
}

/** Where an adapter sits in one block: `words › position › q [v] › …`. */
function pictureOf(adapter: BoundAdapter, { linearTargets }: BaseDescription): string {
  const hooks = adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(0) });
  const has = (target: LinearTarget): boolean => linearTargets[target] !== undefined;
  const acts = (target: LinearTarget): boolean =>
    hooks.linear !== undefined && (hooks.linearTargets?.has(target) ?? true);
  const named = new Set(
    adapter.tensors.flatMap(({ name }) => /layers\.\d+\.(attention|feedForward)\./.exec(name)?.[1] ?? []),
  );
  const ends = (sublayer: string): boolean => hooks.sublayer !== undefined && (named.size === 0 || named.has(sublayer));
  const mark = (text: string, isActed: boolean): string => (isActed ? `[${text}]` : text);
  const maps = (...targets: readonly LinearTarget[]): string =>
    targets
      .filter(has)
      .map((target) => mark(target, acts(target)))
      .join(' ');
  // Parts of a fused map are drawn where something acts on them and not on the whole.
  const isFused = has('qkv') && (acts('qkv') || !(['q', 'k', 'v'] as const).some(acts));
  const path = [
    mark('words', hooks.words !== undefined),
    mark('positions', hooks.embedding !== undefined),
    isFused ? maps('qkv') : maps('q', 'k', 'v'),
    mark('attention', hooks.keysAndValues !== undefined),
    maps('o'),
    mark('+', ends('attention')),
    maps('gate', 'up'),
    maps('down'),
    mark('+', ends('feedForward')),
    mark('head', hooks.output !== undefined),
  ].join(' › ');
  return hooks.weight === undefined ? path : `[${path}]`;
}
