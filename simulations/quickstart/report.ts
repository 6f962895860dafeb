/** The report of a run: one page of HTML that needs nothing beside itself, in light and dark, on paper and on a phone. */
import { formatBytes, formatDuration } from '../../shared/command-line/progress.ts';
import { labelsInRow } from '../../shared/data/row.ts';
import { type MetricName, metricFacts, metricText } from '../../shared/training/metrics.ts';
import { boundsOf, escapeText, lineChart, type Series } from './chart.ts';
import type { CurvePoint } from './messages.ts';
import { style } from './report-style.ts';
import type { QuickstartResult } from './run.ts';
import { type ComparisonRow, comparisonOf, meanOf, percent, type Summary, sightOf, verdictOf } from './summary.ts';

/** The page. */
export function reportPage(result: QuickstartResult): string {
  const { summary, head } = result;
  const rows = comparisonOf(summary, head?.traffic ?? null);
  const title = `${summary.sites.length} sites, one adapter`;
  const sections = [
    `<header><p class="brand">Tributary</p><h1>${title}</h1><p class="lead">${escapeText(verdictOf(summary))}</p></header>`,
    section('Comparison', bars(summary, rows) + table(result, rows)),
    section('Learning curves', curves(result)),
    section('The sites', sitesTable(result)),
    section('What travelled, and who could read it', protection(result)),
    section('What was run', settings(result)),
  ];
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">' +
    `<title>${title} – Tributary</title><style>${style}</style></head><body><main>${sections.join('\n')}</main></body></html>\n`
  );
}

const section = (heading: string, content: string): string => `<section><h2>${heading}</h2>${content}</section>`;

/** One bar per contender on all test rows. */
function bars({ metric: { name: metric } }: Summary, rows: readonly ComparisonRow[]): string {
  // Shares fill their track by themselves; other metrics fill it next to the largest.
  const largest = metricFacts[metric].isShare ? 1 : Math.max(...rows.map(({ pooled }) => pooled ?? 0), 1e-9);
  const items = rows.map(({ key, name, pooled }) => {
    const width = ((100 * (pooled ?? 0)) / largest).toFixed(1);
    return (
      `<div class="bar ${key}"><span class="label">${escapeText(name)}</span>` +
      `<span class="track"><span class="fill" style="width:${width}%"></span></span><span class="value">${metricText(metric, pooled)}</span></div>`
    );
  });
  return `<div class="bars" role="img" aria-label="${titleOf(metric)} on all test rows">${items.join('')}</div>`;
}

function table({ summary }: QuickstartResult, rows: readonly ComparisonRow[]): string {
  const { name: metric } = summary.metric;
  const heading = ({ key, name }: ComparisonRow) => `<th scope="row" class="${key}">${escapeText(name)}</th>`;
  const scores = rows.map((row) => [
    heading(row),
    ...[row.pooled, meanOf(row.own), ...summary.sites.map((_, index) => row.own[index] ?? null)].map((score) =>
      number(metricText(metric, score)),
    ),
  ]);
  const costs = rows
    .filter(({ seconds }) => seconds !== null)
    .map((row) => [
      heading(row),
      number(row.bytes === null ? '–' : formatBytes(row.bytes.up)),
      number(row.bytes === null ? '–' : formatBytes(row.bytes.down)),
      number(formatDuration(1000 * (row.seconds ?? 0))),
    ]);
  const siteNames = summary.sites.map(({ name }) => name);
  return (
    htmlTable([`${metricFacts[metric].title} on`, 'all test rows', 'own rows, mean', ...siteNames], scores) +
    summary.missing.map((why) => `<p class="note">Not in this comparison: ${escapeText(why)}.</p>`).join('') +
    '<p class="note">Own rows: each site&#39;s own test rows, which have its mixture of labels and its way of writing. An adapter of one site alone is trained with as ' +
    'many steps as that site makes in the federation, from the same start; the adapter on pooled data makes as many passes over all rows.</p>' +
    `<h3>What it took</h3>${htmlTable(['', 'bytes up', 'bytes down', 'time'], costs)}` +
    '<p class="note">Bytes of all sites together: the base model once per site, adapters, updates and evaluations of all rounds. Federations train their sites at the same time.</p>'
  );
}

/** Metric and loss on the held-out rows of all sites after every round, or as much training without a federation. */
function curves({ federated, head, pooled, local, division, metric }: QuickstartResult): string {
  const meanCurve = (curves: readonly (readonly CurvePoint[])[]): CurvePoint[] => {
    const [first = []] = curves;
    return first.map(({ round }, index) => ({
      round,
      score: meanOf(curves.map((curve) => curve[index]?.score ?? null)),
      loss: meanOf(curves.map((curve) => curve[index]?.loss ?? null)) ?? 0,
    }));
  };
  const lines: readonly (readonly [name: string, style: string, curve: readonly CurvePoint[]])[] = [
    ...local.map(({ curve }, index) => [`${division.sites[index]!.name} alone`, 'local faint', curve] as const),
    ['alone (mean)', 'local', meanCurve(local.map(({ curve }) => curve))],
    ['head alone', 'head', head?.curve ?? []],
    ['pooled', 'pooled', pooled.curve],
    ['federated', 'federated', federated.curve],
  ];
  const drawn = lines.filter(([, , curve]) => curve.length > 0);
  if (drawn.length === 0) return '<p>No site held rows out, so there are no curves.</p>';
  const series = (value: (point: CurvePoint) => number | null): Series[] =>
    drawn.map(([name, lineStyle, curve]) => ({
      name,
      style: lineStyle,
      isNamed: !lineStyle.includes('faint'),
      points: curve.flatMap((point) => {
        const y = value(point);
        return y === null ? [] : [{ x: point.round, y }];
      }),
    }));
  const chart = (
    title: string,
    value: (point: CurvePoint) => number | null,
    stepOf: (values: readonly number[]) => number,
    formatY: (y: number) => string,
  ) => {
    const values = drawn.flatMap(([, , curve]) => curve.map(value)).filter((found) => found !== null);
    if (values.length === 0) return '';
    const yRange = boundsOf(values, stepOf(values));
    const svg = lineChart({ title, xLabel: 'round', series: series(value), yRange, formatY });
    return `<figure><figcaption>${title}</figcaption>${svg}</figure>`;
  };
  const { isShare } = metricFacts[metric];
  const own = chart(
    `${titleOf(metric)} on held-out rows`,
    ({ score }) => score,
    isShare ? () => 0.05 : roundStep,
    (y) => (isShare ? `${Math.round(100 * y)} %` : shortNumber(y)),
  );
  const losses = chart(
    'Loss on held-out rows',
    ({ loss }) => loss,
    () => 0.1,
    (y) => y.toFixed(1),
  );
  return (
    `<div class="charts">${own}${metric === 'loss' ? '' : losses}</div>` +
    '<p class="note">Rows that the sites held out of their training rows, all sites together; test rows were used once, at the end. Thin lines: each site alone.</p>'
  );
}

/** A power of ten below the spread of the values. */
function roundStep(values: readonly number[]): number {
  const spread = Math.max(...values) - Math.min(...values) || Math.abs(values[0]!) || 1;
  return 10 ** (Math.floor(Math.log10(spread)) - 1) * 5;
}

const shortNumber = (value: number): string => String(Number(value.toPrecision(3)));

/** The name of a metric at the beginning of a sentence. */
function titleOf(metric: MetricName): string {
  const { title } = metricFacts[metric];
  return `${title[0]!.toUpperCase()}${title.slice(1)}`;
}

function sitesTable({ summary, local, division, metric }: QuickstartResult): string {
  const { onOwnData } = summary.scores;
  const rows = summary.sites.map(({ name, trainRows, heldOutRows, testRows }, index) => [
    `<th scope="row">${escapeText(name)}</th>`,
    ...[trainRows, heldOutRows, testRows].map((rows) => number(count(rows))),
    number(metricText(metric, onOwnData.local[index] ?? null)),
    number(metricText(metric, onOwnData.federated[index] ?? null)),
    number(formatDuration(1000 * (local[index]?.seconds ?? 0))),
  ]);
  const headings = [
    'site',
    'training rows',
    'held out',
    'own test rows',
    'alone, own rows',
    'federated, own rows',
    'time alone',
  ];
  return htmlTable(headings, rows) + labelShares(division);
}

/** Labels that are shown one by one; more would be a wall of figures. */
const labelsShown = 40;

/** How common every label is at every site: the skew that makes a site's own rows too few. */
function labelShares({ labels, sites }: QuickstartResult['division']): string {
  if (labels.length === 0) return '';
  if (labels.length > labelsShown) return `<p class="note">${labels.length} labels.</p>`;
  const cells = labels.map((label) => [
    `<th scope="row">${escapeText(label)}</th>`,
    ...sites.map(({ train }) => {
      const share = train.filter((row) => labelsInRow(row).includes(label)).length / Math.max(1, train.length);
      // Half of a site's rows in one label is as dark as it gets.
      const strength = Math.round(100 * Math.min(1, 2 * share));
      return `<td class="share" style="--strength:${strength}%">${percent(share)}</td>`;
    }),
  ]);
  const headings = ['share of training rows', ...sites.map(({ name }) => name)];
  return `<h3>Labels</h3>${htmlTable(headings, cells)}`;
}

function protection({ summary, federated, plans }: QuickstartResult): string {
  const contributions = federated.rounds.reduce((sum, { contributors }) => sum + contributors, 0);
  const asked = federated.rounds.reduce((sum, round) => sum + round.asked, 0);
  const items = [
    `No row left its site. Up went ${formatBytes(summary.bytes.up)}: ${contributions} of ${asked} asked-for signed ${summary.coordinatorSaw.isMasked ? 'and masked ' : ''}deltas of ${count(summary.parameters.trainable)} numbers, and evaluation counts.`,
    summary.coordinatorSaw.isMasked
      ? `<strong>${escapeText(sightOf(summary))}</strong> Numbers of rows, losses and evaluation counts went into such sums too. The coordinator vouches for the sites here, so this holds if it is honest but curious. Sums can still reveal something about rows: nothing here is differentially private.`
      : '<strong>Secure aggregation is off with two sites: the coordinator could read every single delta</strong>, and deltas can reveal things about the rows behind them. Nothing here is differentially private.',
    'Every delta was signed by its site&#39;s own key and checked; every round ended in a signed version that names its parent. Each site&#39;s policy file approves exactly this plan.',
    ...(federated.problems.length === 0
      ? ['No message was refused.']
      : federated.problems.map((problem) => escapeText(problem))),
  ];
  return `<ul>${items.map((item) => `<li>${item}</li>`).join('')}</ul><p class="note">Aggregation: ${escapeText(plans.federated.aggregation.rule)}, weighted by ${escapeText(plans.federated.aggregation.weighting)}.</p>`;
}

function settings({ summary, options, base, plans, baseFolder }: QuickstartResult): string {
  const plan = plans.federated;
  const { training, rounds, task } = plan;
  const { method, ...adapterSettings } = plan.adapter;
  const partition =
    options.partition.kind === 'dirichlet' ? `dirichlet:${options.partition.alpha}` : options.partition.kind;
  const facts: readonly (readonly [string, string])[] = [
    [
      'base',
      `${base.family}, ${base.layerCount} layers of ${base.hiddenSize}, ${count(summary.parameters.frozen)} frozen parameters (${baseFolder.split(/[\\/]/).at(-1)})`,
    ],
    [
      'adapter',
      `${method} ${JSON.stringify(adapterSettings)}, ${count(summary.parameters.trainable)} trainable parameters with the head`,
    ],
    [
      'training',
      `${rounds.count} rounds of ${training.localEpochs} local epochs, batches of ${training.batchSize}, AdamW, ${training.schedule} rate, weight decay ${training.weightDecay}`,
    ],
    [
      'highest rates',
      `${training.learningRate} federated, ${plans.local.training.learningRate} at one site alone, ${plans.pooled.training.learningRate} on pooled rows; ${plans.head === null ? '' : `${plans.head.training.learningRate} for the head alone; `}each the best of one grid on held-out rows of the sample`,
    ],
    ['task', task.kind],
    ['text', `${'pooling' in task ? `${task.pooling} pooling, ` : ''}at most ${task.lengthMax} tokens`],
    [
      'rows',
      options.data === null
        ? 'the sample that ships: invented messages to four banks'
        : `${options.data.train}, ${options.data.test}`,
    ],
    ['partition', `${partition}, seed ${options.seed}`],
    ['computed on', `${summary.backend}, in ${formatDuration(1000 * summary.seconds)} altogether`],
  ];
  const list = facts.map(([term, text]) => `<dt>${term}</dt><dd>${escapeText(text)}</dd>`).join('');
  return `<dl>${list}</dl>`;
}

const count = (value: number): string => value.toLocaleString('en-US');
const number = (text: string): string => `<td>${escapeText(text)}</td>`;

function htmlTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const headingCells = headings.map((heading) => `<th scope="col">${escapeText(heading)}</th>`).join('');
  const body = rows.map((cells) => `<tr>${cells.join('')}</tr>`).join('');
  return `<div class="scroll"><table><thead><tr>${headingCells}</tr></thead><tbody>${body}</tbody></table></div>`;
}
