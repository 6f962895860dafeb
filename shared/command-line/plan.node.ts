/** `tributary plan check`: a plan with its defaults and hash; with `--base` against a base model, with `--policy` against a site's policy. */
import type { Command } from 'commander';
import { UsageError } from '../core/errors.ts';
import { describeCanary } from '../plan/canary.ts';
import { updatesNeeded } from '../plan/groups.ts';
import { plansAhead, sourcesOf } from '../plan/phases.ts';
import type { Plan } from '../plan/plan.ts';
import { planHashOf } from '../plan/plan.ts';
import { judgePlan } from '../plan/policy.ts';
import { describePhasesPrivacy, describePrivacy } from '../plan/privacy.ts';
import { readPlan, readPolicy } from '../plan/read-plan.node.ts';
import { askedOfAll, describeMasking, groupSizeOf } from '../plan/secure-aggregation.ts';
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
  const { reports, notChecked } = await checkFurther(plan, file, base, context);
  const phases = plan.phases === undefined ? {} : { phases: reports };
  const text = planText(file, plan, planHash, reports);
  const left = notChecked.map((what, index) => `${index === 0 ? '  not checked   ' : ' '.repeat(16)}${what}`);
  const next = left.length === 0 ? [] : [`${' '.repeat(16)}with --base DIR all of it is`];
  context.report(
    { planHash, plan, base: reports[0] ?? null, ...phases, notChecked },
    [text, ...left, ...next].join('\n'),
  );
}

function taskText(task: Plan['task']): string {
  const labels = 'labels' in task ? `, ${task.labels.length} labels` : '';
  const pooling = 'pooling' in task ? `, pooling ${task.pooling}` : '';
  const part = task.part === undefined ? '' : `, rows of the part ${task.part}`;
  return `${task.kind} of texts up to ${task.lengthMax} tokens${labels}${pooling}${part}`;
}

/** Checks adapter and task, on the base where there is one: what the plan comes to, phase by phase, and what was left out. */
async function checkFurther(
  plan: Plan,
  file: string,
  base: string | undefined,
  context: CommandContext,
): Promise<{ readonly reports: readonly BaseReport[]; readonly notChecked: readonly string[] }> {
  // Loaded here: TensorFlow.js costs a second that a plan which cannot be read does not need.
  const [{ checkAgainstBase, checkWithoutBase, leftToBase }, { resolveBaseFolder }] = await Promise.all([
    import('./check-base.node.ts'),
    import('../model/hub.node.ts'),
  ]);
  const folder = base === undefined ? null : await resolveBaseFolder(base, context);
  const reports: BaseReport[] = [];
  for (const [index, ahead] of plansAhead(plan).entries()) {
    const phase = plan.phases?.[index]?.name;
    const name = phase === undefined ? file : `${file}: phase ${phase}`;
    if (folder === null) checkWithoutBase(ahead, name);
    else reports.push(await checkAgainstBase(ahead, name, folder));
  }
  return { reports, notChecked: folder === null ? leftToBase : [] };
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
function planText(file: string, plan: Plan, planHash: string, bases: readonly BaseReport[]): string {
  const head = [`${file}: correct`, `  name          ${plan.name}`, `  plan hash     ${planHash}`];
  const parts = plansAhead(plan).flatMap((ahead, index) => [
    ...(plan.phases === undefined ? [] : [phaseText(plan, index)]),
    ...partLines(ahead, bases[index] ?? null),
  ]);
  const [first, ...further] = describePhasesPrivacy(plan);
  const spent =
    first === undefined
      ? []
      : [`  privacy of all phases`, ...[first, ...further].map((line) => `                ${line}`)];
  return [...head, ...parts, ...spent].join('\n');
}

/** Which phase this is, and what it builds on. */
function phaseText(plan: Plan, index: number): string {
  const { name } = plan.phases![index]!;
  const sources = sourcesOf(plan, index).map(({ prefix, phase }) =>
    prefix === ''
      ? `goes on from ${phase}`
      : `${prefix.slice(0, -1)} holds what ${phase} learned${isFrozen(plan, index, prefix)}`,
  );
  const builds = sources.length === 0 ? 'starts from its seed' : sources.join(', ');
  return `  phase ${index + 1} of ${plan.phases!.length}  ${name}: ${builds}`;
}

/** Whether a member goes on learning, where it is said. */
function isFrozen(plan: Plan, index: number, prefix: string): string {
  const { adapter } = plan.phases![index]!;
  const members = adapter.members as readonly { readonly id: string; readonly frozen?: boolean }[];
  const frozen =
    members.find(({ id }) => `${id}.` === prefix)?.frozen ?? (adapter.method === 'fuse' ? true : undefined);
  return frozen === undefined ? '' : frozen ? ', frozen' : ', and goes on learning';
}

/** What a plan, or one of its phases, trains and how. */
function partLines(plan: Plan, base: BaseReport | null): string[] {
  const { rounds, training, aggregation } = plan;
  const local = training.localSteps === undefined ? `${training.localEpochs} epochs` : `${training.localSteps} steps`;
  const most = askedOfAll(plan);
  const beyond =
    most === null ? '' : ` (${most} at most, drawn anew for every round; for more: secureAggregation.groupSize)`;
  const asked = rounds.cohortSize === 'all' ? `all connected clients${beyond}` : `${rounds.cohortSize} clients`;
  const least = groupSizeOf(plan) === null ? updatesNeeded(plan) : rounds.quorum;
  const beyondQuorum =
    least === rounds.quorum ? '' : ` (the quorum is ${rounds.quorum}, and the rule ${aggregation.robust} needs more)`;
  const spare = rounds.cohortSize === 'all' ? '' : `; ${rounds.cohortSize - least} may be missing`;
  const optimiser = `${training.schedule} learning rate ${training.learningRate}, batches of ${training.batchSize}`;
  const lines = [
    `  task          ${taskText(plan.task)}`,
    `  adapter       ${plan.adapter.method}`,
    `  local work    ${[`${local}, ${optimiser}, seed ${training.seed}`, ...describeStrategies(training)].join('; ')}`,
    `  rounds        ${rounds.count}, asking ${asked}, publishing with at least ${least} updates${beyondQuorum}${spare}`,
    `  aggregation   ${aggregationText(aggregation)}`,
    `  gate          ${describeCanary(plan.canary).replace(/^gate: /, '')}`,
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
  return lines;
}
