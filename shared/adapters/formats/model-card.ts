/**
 * The model card of an exported adapter, `README.md` as the Hub reads it: what it stands on, how it came about, what it reached, what protects
 * those who trained it, how to load it. All of it comes from the manifest and from signed records, so one adapter has one card; it names no
 * client and no row.
 */
import type { Task } from '../../plan/task.ts';
import type { VersionRecord } from '../../protocol/version-record.ts';
import { type Metrics, metricFacts, metricNames, metricText } from '../../training/metrics.ts';
import type { AdapterManifest } from '../adapter-manifest.ts';

/** What a folder with a card holds. */
export type CardFormat = 'tributary' | 'peft' | 'adapterhub' | 'merged';

/** What of a plan a card tells. */
export interface CardPlan {
  readonly name: string;
  readonly planHash: string;
  readonly clientsPerRound: number | 'all';
  readonly quorum: number;
  readonly roundCount: number;
  readonly aggregationRule: string;
  readonly isMasked: boolean;
}

/** What a card is made from. */
export interface CardFacts {
  readonly manifest: Pick<AdapterManifest, 'base' | 'adapter' | 'task' | 'modelHash' | 'layout' | 'heldOut'>;
  readonly format: CardFormat;
  /** Name on the Hub or path of the base; empty where nobody said. */
  readonly baseName: string;
  /** Licence of the base as its own card has it (`apache-2.0`); null where it has none. */
  readonly baseLicense: string | null;
  /** Verified records up to this version, oldest first; the last is the adapter's. Empty for an adapter that no federation published. */
  readonly records: readonly VersionRecord[];
  /** Fingerprint of the coordinator's key that signed them. */
  readonly signer: string | null;
  readonly plan: CardPlan | null;
  /** Class of Transformers that holds the base and the head: `BertForSequenceClassification`. */
  readonly className: string;
  /** Name of the adapter within AdapterHub's files. */
  readonly adapterName: string;
  /** Whether the head was left out. */
  readonly isHeadless: boolean;
  /** Of the folder: what a reader has to know about how it was written. */
  readonly remarks: readonly string[];
}

const libraries: Readonly<Record<CardFormat, string>> = {
  tributary: 'tributary',
  peft: 'peft',
  adapterhub: 'adapter-transformers',
  merged: 'transformers',
};

const pipelines: Readonly<Record<Task['kind'], string>> = {
  several: 'text-classification',
  classification: 'text-classification',
  'multi-label': 'text-classification',
  tokens: 'token-classification',
  causal: 'text-generation',
  masked: 'fill-mask',
};

/** Names of metrics as the Hub has them. */
const hubMetrics: Readonly<Partial<Record<(typeof metricNames)[number], string>>> = {
  accuracy: 'accuracy',
  macroF1: 'f1',
  entityF1: 'f1',
  auroc: 'roc_auc',
  perplexity: 'perplexity',
};

/** Most labels that a card lists. */
const labelsShown = 200;

/** The card, in Markdown with a front matter in YAML. */
export function modelCard(facts: CardFacts): string {
  const sections = [
    frontMatter(facts),
    `# ${plain(facts.plan?.name ?? `${facts.manifest.adapter.method} adapter`)}\n`,
    summary(facts),
    baseSection(facts),
    trainingSection(facts),
    privacySection(facts),
    evaluationSection(facts),
    loadingSection(facts),
  ];
  return `${sections.filter((section) => section !== '').join('\n')}`;
}

function frontMatter({ manifest, format, baseName, baseLicense, records }: CardFacts): string {
  const latest = records.findLast(({ metrics }) => metrics !== null)?.metrics ?? manifest.heldOut;
  const metrics = metricNames.flatMap((name) => (latest?.[name] == null ? [] : (hubMetrics[name] ?? [])));
  const list = (name: string, items: readonly string[]): string[] =>
    items.length === 0 ? [] : [`${name}:`, ...items.map((item) => `- ${quoted(item)}`)];
  const tags = ['federated-learning', 'tributary', manifest.adapter.method];
  return [
    '---',
    `library_name: ${libraries[format]}`,
    ...(baseName === '' ? [] : [`base_model: ${quoted(baseName)}`]),
    ...(baseName === '' || format === 'merged' ? [] : ['base_model_relation: adapter']),
    `license: ${baseLicense === null ? 'unknown' : quoted(baseLicense)}`,
    `pipeline_tag: ${pipelines[manifest.task.kind]}`,
    ...list('tags', tags),
    ...list('metrics', [...new Set(metrics)]),
    '---\n',
  ].join('\n');
}

/** A scalar of YAML: bare where it cannot be misread, else as JSON, which YAML reads. */
function quoted(text: string): string {
  return /^[A-Za-z][A-Za-z0-9._/-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text);
}

/** Text without what Markdown would read as its own, in one line. */
function plain(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\\`*_{}[\]<>#|]/g, (character) => `\\${character}`);
}

function summary({ manifest, records, isHeadless, remarks }: CardFacts): string {
  const { adapter, task, layout } = manifest;
  const federation =
    records.length === 0
      ? 'It was trained at one place.'
      : 'It was trained by a federation: its sites kept their data and sent updates of the adapter.';
  const labels = 'labels' in task ? ` with ${task.labels.length} labels` : '';
  const head = isHeadless ? ' The trained head is left out of this folder.' : '';
  const method = `An adapter of the method \`${adapter.method}\` (${layout.dim} values) for ${task.kind}${labels}.`;
  const shown = 'labels' in task && task.labels.length <= labelsShown && !isHeadless ? task.labels : [];
  const named = shown.length === 0 ? [] : [`Labels, in the order of the outputs: ${shown.map(plain).join(', ')}.`];
  return [`${method} ${federation}${head}`, ...named, ...remarks, ''].join('\n\n');
}

function baseSection({ manifest, baseName, baseLicense }: CardFacts): string {
  const license =
    baseLicense === null
      ? 'its own card states none here: look it up before you share the adapter'
      : `${plain(baseLicense)}; it holds for what is made from the base, too, as far as it says so`;
  return [
    '## Base\n',
    `- model: ${baseName === '' ? 'not named' : plain(baseName)} (${manifest.base.family})`,
    `- digest of weights, configuration and tokenizer: \`${manifest.base.digest}\``,
    `- licence: ${license}`,
    '',
  ].join('\n');
}

function trainingSection({ manifest, records, plan, signer }: CardFacts): string {
  const latest = records.at(-1);
  const settings = `- adapter: \`${JSON.stringify(manifest.adapter)}\``;
  const model = `- model hash: \`${manifest.modelHash}\``;
  if (latest === undefined) return ['## Training\n', settings, model, ''].join('\n');
  const { round, federationId, contributors, cohort, totalWeight } = latest;
  const rows = records.flatMap((record) =>
    record.round === null
      ? []
      : [
          `| ${record.round.roundIndex} | ${record.cohort.length} | ${record.contributors.length} | ${record.totalWeight} |`,
        ],
  );
  const aggregation = `\`${latest.aggregationRule}\`, ${plan?.isMasked === true ? 'masked' : 'not masked'}`;
  const ofPlan =
    plan === null
      ? [`- plan: \`${latest.planHash}\``]
      : [
          `- plan: ${plain(plan.name)}, \`${plan.planHash}\`: ${plan.roundCount} rounds, clients asked per round ${plan.clientsPerRound}, quorum ${plan.quorum}`,
        ];
  return [
    '## Training\n',
    ...ofPlan,
    `- version ${latest.versionIndex} of federation \`${federationId}\`, ${
      round === null
        ? 'before the first round'
        : `after round ${round.roundIndex}: ${contributors.length} of ${cohort.length} clients, total weight ${totalWeight}`
    }`,
    `- aggregation: ${aggregation}`,
    settings,
    model,
    ...(signer === null ? [] : [`- signed by the coordinator with the key \`${signer}\``]),
    ...(rows.length === 0 ? [] : ['', '| round | cohort | contributors | weight |', '|---:|---:|---:|---:|', ...rows]),
    '',
  ].join('\n');
}

function privacySection({ records }: CardFacts): string {
  const latest = records.at(-1);
  const spent = latest?.privacy ?? 'none';
  // Records say in words what protects single clients; those of unprotected rounds begin with none.
  const text = /^none\b/.test(spent) ? 'none: no differential privacy was used' : plain(spent);
  const detail = latest !== undefined && /^none: ./.test(spent) ? ` (${plain(spent.slice('none: '.length))})` : '';
  return ['## Privacy\n', `Privacy spent: ${text}${detail}.`, ''].join('\n');
}

function evaluationSection({ records, manifest: { heldOut } }: CardFacts): string {
  const measured = records.flatMap(({ round, metrics }) => (metrics === null ? [] : [{ round, metrics }]));
  if (measured.length === 0 && heldOut !== null) return ownEvaluation(heldOut);
  if (measured.length === 0) return ['## Evaluation\n', 'No evaluation is on record.', ''].join('\n');
  const names = metricNames.filter((name) => measured.some(({ metrics }) => metrics[name] !== null));
  return [
    '## Evaluation\n',
    'On held-out rows of the sites that disclose their counts.\n',
    `| round | rows | ${names.map((name) => metricFacts[name].title).join(' | ')} |`,
    `|---:|---:|${names.map(() => '---:|').join('')}`,
    ...measured.map(({ round, metrics }) => {
      const values = names.map((name) => metricText(name, metrics[name]));
      return `| ${round?.roundIndex ?? 'start'} | ${metrics.exampleCount} | ${values.join(' | ')} |`;
    }),
    '',
  ].join('\n');
}

/** What the manifest says of an adapter that no federation measured. */
function ownEvaluation(heldOut: Metrics): string {
  const names = metricNames.filter((name) => heldOut[name] !== null);
  return [
    '## Evaluation\n',
    'On rows that were held out where it was trained, as its manifest says; nobody signed for these figures.\n',
    `| rows | ${names.map((name) => metricFacts[name].title).join(' | ')} |`,
    `|---:|${names.map(() => '---:|').join('')}`,
    `| ${heldOut.exampleCount} | ${names.map((name) => metricText(name, heldOut[name])).join(' | ')} |`,
    '',
  ].join('\n');
}

function loadingSection({ format, className, adapterName, baseName, manifest, isHeadless }: CardFacts): string {
  const base = baseName === '' ? 'BASE' : baseName;
  const { task } = manifest;
  const labels = 'labels' in task && !isHeadless ? `, num_labels=${task.labels.length}` : '';
  const lines: Readonly<Record<CardFormat, readonly [string, string]>> = {
    tributary: ['sh', `tributary evaluate --adapter DIR --base ${base} --data FILE`],
    peft: [
      'py',
      `model = PeftModel.from_pretrained(${className}.from_pretrained(${JSON.stringify(base)}${labels}), "DIR")`,
    ],
    adapterhub: [
      'py',
      `model.load_adapter("DIR", use_safetensors=True, set_active=True)  # model: AutoAdapterModel.from_pretrained(${JSON.stringify(base)}); its name is ${JSON.stringify(adapterName)}`,
    ],
    merged: ['py', `model = ${className}.from_pretrained("DIR")`],
  };
  const [language, line] = lines[format];
  return ['## How to load it\n', `\`\`\`${language}`, line, '```', ''].join('\n');
}
