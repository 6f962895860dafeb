/** A finished run that never ran: figures that tell every place of table and report apart. */
import { join } from 'node:path';
import { describeFiles } from '../../../shared/model/load.ts';
import type { FederationOutcome } from '../../../simulations/quickstart/federate.ts';
import type { LearningOutcome } from '../../../simulations/quickstart/learners.ts';
import type { QuickstartOptions } from '../../../simulations/quickstart/options.ts';
import { makePlan, makeTask } from '../../../simulations/quickstart/plans.ts';
import type { QuickstartResult } from '../../../simulations/quickstart/run.ts';
import type { Summary } from '../../../simulations/quickstart/summary.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

/** Options of a run on the user's files. */
export const fixtureOptions: QuickstartOptions = {
  baseFolder: '/bases/tiny',
  data: { train: 'train.jsonl', test: 'test.jsonl', textColumn: 'text', labelColumn: 'label', labelNames: null },
  clientCount: 2,
  partition: { kind: 'dirichlet', alpha: 0.5 },
  rounds: 2,
  localEpochs: 1,
  task: 'classification',
  classWeights: null,
  metric: null,
  adapter: 'bottleneck',
  backend: 'auto',
  threads: 1,
  seed: 3,
  outFolder: '/results',
};

/** Its summary; `federated` is what a test wants to see. */
export function fixtureSummary(federated = 0.8125): Summary {
  return {
    metric: { name: 'accuracy', higherIsBetter: true },
    task: 'classification',
    missing: [],
    scores: {
      bagOfWords: 0.7,
      head: 0.5,
      local: [0.4, 0.45],
      federated,
      pooled: 0.9,
      onOwnData: {
        local: [0.61, null],
        federated: [0.72, null],
        bagOfWords: [0.63, null],
        head: [0.54, null],
        pooled: [0.85, null],
      },
    },
    rounds: 2,
    coordinatorSaw: { isMasked: false, fewest: 2 },
    bytes: { up: 123_456, down: 7_890_000 },
    seconds: 83,
    backend: 'wasm',
    parameters: { trainable: 1234, frozen: 6928 },
    seed: 3,
    sites: [
      { name: 'site-1', trainRows: 20, heldOutRows: 4, testRows: 9 },
      { name: 'site-2', trainRows: 12, heldOutRows: 0, testRows: 0 },
    ],
    secondsOf: { head: 5, local: [11, 13], federated: 40, pooled: 50 },
  };
}

/** The whole result, with curves unless `curves` is false. */
export function fixtureResult({ curves = true, problems = [] as readonly string[] } = {}): QuickstartResult {
  const base = describeFiles(tinyBaseFiles());
  const labels = ['a <b>', 'plain'];
  const plan = makePlan({
    name: 'test',
    adapter: 'bottleneck',
    trainer: 'federation',
    base,
    task: makeTask('classification', labels, base),
    options: fixtureOptions,
  });
  const curve = curves
    ? [
        { round: 1, score: 0.5, loss: 1.2 },
        { round: 2, score: 0.75, loss: 0.6 },
      ]
    : [];
  const federated: FederationOutcome = {
    adapter: new Float32Array(4),
    lineage: { record: '', signature: '', coordinatorKey: '' },
    rounds: [0, 1].map((roundIndex) => ({ roundIndex, asked: 2, contributors: 2, metrics: null, seconds: 2 })),
    curve,
    traffic: { up: 1, down: 2 },
    seconds: 40,
    backend: 'wasm',
    problems,
  };
  const learned: LearningOutcome = { counts: [], curve, seconds: 11, backend: 'wasm', trainable: 1234, frozen: 6928 };
  const rows = labels.map((label, index) => ({ text: 'text', label, line: index + 1 }));
  const path = (...parts: string[]) => join('/results', ...parts);
  return {
    summary: fixtureSummary(),
    options: fixtureOptions,
    base,
    baseFolder: '/bases/tiny',
    plans: { federated: plan, head: plan, local: plan, pooled: plan },
    federated,
    head: federated,
    metric: 'accuracy',
    local: [learned, learned],
    pooled: learned,
    division: {
      labels,
      sites: ['site-1', 'site-2'].map((name) => ({ name, train: rows, heldOut: [], ownTest: [] })),
    },
    folder: {
      root: path(),
      adapter: path('adapter'),
      report: path('report.html'),
      summary: path('summary.json'),
      trainFile: path('data', 'train.jsonl'),
      testFile: path('data', 'test.jsonl'),
      coordinator: (name) => path('state', name, 'coordinator'),
      clients: (name) => path('state', name, 'clients'),
      site: (name, file) => path('sites', name, file),
    },
  };
}
