/** `tributary plan check`: a plan with its defaults and hash; with `--base` against a base model, with `--policy` against a site's policy. */
import type { Command } from 'commander';
import { UsageError } from '../core/errors.ts';
import type { Plan } from '../plan/plan.ts';
import { planHashOf } from '../plan/plan.ts';
import { judgePlan } from '../plan/policy.ts';
import { describePrivacy } from '../plan/privacy.ts';
import { readPlan, readPolicy } from '../plan/read-plan.node.ts';
import { describeMasking } from '../plan/secure-aggregation.ts';
import { describeStrategies } from '../plan/training.ts';
import { declarationOf } from '../update/low-rank-rules.ts';
import { robustDeclarationOf } from '../update/robust-rules.ts';
import type { BaseReport } from './check-base.node.ts';
import type { CommandContext } from './context.ts';
import { formatBytes } from './progress.ts';

interface CheckOptions {
  readonly base?: string;
  readonly policy?: string;
}

/** Adds `plan check`. */
export function register(program: Command, context: CommandContext): void {
  program
    .command('plan')
    .command('check')
    .description('check a plan (.yaml, .yml or .json); says every fault with the field and what is allowed')
    .argument('<file>', 'the plan')
    .option(
      '--base <folder>',
      'also check it against this base model (a folder or hf:owner/name@revision): digest, adapter, text length',
    )
    .option('--policy <file>', "also judge it by this site's policy")
    .action(async (file: string, options: CheckOptions) => checkPlan(file, options, context));
}

async function checkPlan(file: string, { base, policy }: CheckOptions, context: CommandContext): Promise<void> {
  const plan = await readPlan(file);
  const planHash = planHashOf(plan);
  if (policy !== undefined) {
    const verdict = judgePlan(await readPolicy(policy), plan);
    if (!verdict.ok) throw new UsageError(verdict.error.code, `${file}: refused by ${policy}: ${verdict.error.reason}`);
  }
  // Loaded here: TensorFlow.js costs a second that a check of the plan alone does not need.
  const report = base === undefined ? null : await checkOnBase(plan, file, base, context);
  context.report({ planHash, plan, base: report }, planText(file, plan, planHash, report));
}

function taskText(task: Plan['task']): string {
  const labels = 'labels' in task ? `, ${task.labels.length} labels` : '';
  const pooling = 'pooling' in task ? `, pooling ${task.pooling}` : '';
  return `${task.kind} of texts up to ${task.lengthMax} tokens${labels}${pooling}`;
}

async function checkOnBase(plan: Plan, file: string, base: string, context: CommandContext): Promise<BaseReport> {
  const [{ checkAgainstBase }, { resolveBaseFolder }] = await Promise.all([
    import('./check-base.node.ts'),
    import('../model/hub.node.ts'),
  ]);
  return checkAgainstBase(plan, file, await resolveBaseFolder(base, context));
}

function aggregationText(aggregation: Plan['aggregation']): string {
  const { rule, weighting, lowRank, publishedRank, head, personal, frozen } = aggregation;
  const parts = [`${rule}, weighted by ${weighting}`];
  const { robust, hostileMax, bucketSize, robustNorm } = aggregation;
  if (robust !== 'none') {
    const { condition } = robustDeclarationOf(robust);
    const [buckets, norm] = [
      bucketSize > 1 ? `buckets of ${bucketSize}, ` : '',
      robustNorm === undefined ? '' : `norm ${robustNorm}, `,
    ];
    parts.push(`${norm}${buckets}${robust} against ${hostileMax} hostile (${condition})`);
  }
  if (lowRank !== 'factor-avg') parts.push(`low-rank pairs by ${lowRank}: ${declarationOf(lowRank).guarantee}`);
  if (publishedRank !== undefined) parts.push(`published rank ${publishedRank}`);
  if (head === 'by-label') parts.push('head by label');
  if (personal.length > 0) parts.push(`${personal.join(', ')} stay with the clients`);
  if (frozen.length > 0) parts.push(`${frozen.join(', ')} keep their start values`);
  return parts.join('; ');
}

/** What `plan check` says about a correct plan. */
export function planText(file: string, plan: Plan, planHash: string, base: BaseReport | null): string {
  const { rounds, training, aggregation } = plan;
  const local = training.localSteps === undefined ? `${training.localEpochs} epochs` : `${training.localSteps} steps`;
  const asked = rounds.cohortSize === 'all' ? 'all connected clients' : `${rounds.cohortSize} clients`;
  const spare = rounds.cohortSize === 'all' ? '' : `; ${rounds.cohortSize - rounds.quorum} may be missing`;
  const optimiser = `${training.schedule} learning rate ${training.learningRate}, batches of ${training.batchSize}`;
  const lines = [
    `${file}: correct`,
    `  name          ${plan.name}`,
    `  plan hash     ${planHash}`,
    `  task          ${taskText(plan.task)}`,
    `  adapter       ${plan.adapter.method}`,
    `  local work    ${[`${local}, ${optimiser}, seed ${training.seed}`, ...describeStrategies(training)].join('; ')}`,
    `  rounds        ${rounds.count}, asking ${asked}, publishing with at least ${rounds.quorum} updates${spare}`,
    `  aggregation   ${aggregationText(aggregation)}`,
    `  privacy       ${describeMasking(plan)}`,
    ...describePrivacy(plan).map((line) => `                ${line}`),
  ];
  if (base !== null) {
    const [up, down] = [formatBytes(base.updateBytes), formatBytes(base.publishedBytes)];
    const traffic =
      up === down ? `${up} per client and round each way` : `${up} up and ${down} down per client and round`;
    lines.push(
      `  base          ${base.family}, ${base.layerCount} layers of ${base.hiddenSize}, ${base.parameterCount} frozen parameters`,
      `  trainable     ${base.trainableCount} parameters in ${base.tensorCount} tensors; ${traffic}`,
    );
  }
  return lines.join('\n');
}
