/**
 * The federation plan: what is trained, how, in which rounds. Coordinator and clients derive the same bytes from it; their digest is bound
 * by every signature of a round, and a site's policy may approve it by name.
 *
 * The learning-rate schedule runs over all rounds: the step index is `roundIndex * local steps + local step`, of `rounds.count * local
 * steps` in all, so warm-up happens once and the rate does not jump back up at the start of a round.
 *
 * What stands under `adapter` beside `method` belongs to the method: `parseAdapter` (`shared/adapters`) checks it once the base is known.
 */
import { utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';
import type { TrainingConfiguration } from '../training/configuration.ts';
import { type Aggregation, crossCheckAggregation } from './aggregation.ts';
import { type Canary, crossCheckCanary } from './canary.ts';
import { canonicalJson } from './canonical-json.ts';
import { conflictsOf } from './compatibility.ts';
import { crossCheckGroups } from './groups.ts';
import { documentOfPlan, isPhased, type PhasePlace, type PlanPhase, parsePhases } from './phases.ts';
import { planSchema } from './plan-schema.ts';
import { crossCheckPrivacy, type Privacy } from './privacy.ts';
import type { Problem } from './problems.ts';
import { describeProblems, throwProblems } from './problems.ts';
import type { Quarantine } from './quarantine.ts';
import { crossCheckMasking, groupSizeOf, isMasked, type SecureAggregation, sightOf } from './secure-aggregation.ts';
import { crossCheckTask, type Task } from './task.ts';
import { completeTraining, crossCheckTraining } from './training.ts';

/** A checked plan with all defaults filled in. */
export interface Plan {
  readonly format: 'tributary-plan-1';
  /** Name of the federation for people, 1 to 200 characters. */
  readonly name: string;
  /** The frozen base: digest over configuration, weights and tokenizer, as `plan check --base` prints it. */
  readonly base: { readonly digest: Digest };
  readonly task: Task;
  /** The adapter method and its own settings. */
  readonly adapter: { readonly method: string; readonly [setting: string]: unknown };
  /** Local training; `seed` decides initialisation, sampling, batches and dropout. */
  readonly training: TrainingConfiguration & { readonly seed: number };
  readonly rounds: {
    /** Rounds to publish. */
    readonly count: number;
    /** Clients asked in each round; `all` asks everybody who is connected. */
    readonly cohortSize: number | 'all';
    /** Updates without which a round is void. */
    readonly quorum: number;
    /** Deadline for clients to accept, which includes fetching the base the first time. */
    readonly recruitSeconds: number;
    readonly trainSeconds: number;
    readonly evaluateSeconds: number;
    /** How long to wait for a quorum of connected clients before the federation stops. */
    readonly waitSeconds: number;
    /** Void rounds in a row after which the federation stops. */
    readonly voidsMax: number;
  };
  readonly aggregation: Aggregation;
  /** Federated evaluation after every so many published rounds and after the last; 0 never evaluates. */
  readonly evaluation: { readonly everyRounds: number };
  /** Whether the updates of published rounds, masked ones as they were sent, are kept so that an auditor can replay the round. */
  readonly audit: { readonly retainUpdates: boolean };
  /** What a candidate has to pass before it is published. */
  readonly canary: Canary;
  /** When a client whose updates are refused or flagged is set aside. */
  readonly quarantine: Quarantine;
  /** Whether and how single updates are hidden from the coordinator. */
  readonly secureAggregation: SecureAggregation;
  /** Whose data differential privacy protects, and how much may be spent. */
  readonly privacy: Privacy;
  /** Trainings one after the other (`phases.ts`); absent in a plan of one. What stands beside is then the first, or that of `phase`. */
  readonly phases?: readonly PlanPhase[];
  /** Which of the phases this is the plan of; absent in the document that is written. */
  readonly phase?: PhasePlace;
}

/**
 * Checks a plan and fills in defaults.
 * @param value what a YAML or JSON file holds; not changed.
 * @param source where it came from, for messages: a path, or words.
 * @throws UsageError `bad-plan` with one line per fault: place, field, what is allowed, what was found.
 */
export function parsePlan(value: unknown, source: string): Plan {
  return isPhased(value) ? parsePhases(value, source, parseOne) : parseOne(value, source);
}

function parseOne(value: unknown, source: string): Plan {
  const parsed = planSchema.safeParse(value);
  if (!parsed.success) throwProblems('bad-plan', 'the plan', source, describeProblems(parsed.error.issues, value));
  const plan: Plan = { ...parsed.data, training: completeTraining(parsed.data.training) };
  const problems = crossCheck(plan, (value as { readonly privacy?: unknown }).privacy);
  if (problems.length > 0) throwProblems('bad-plan', 'the plan', source, problems);
  return plan;
}

/** What no single field shows. */
function crossCheck(plan: Plan, givenPrivacy: unknown): Problem[] {
  const { task, training, rounds, aggregation } = plan;
  const problems: Problem[] = [...crossCheckTask(task), ...crossCheckTraining(training)];
  if (rounds.cohortSize !== 'all' && rounds.quorum > rounds.cohortSize) {
    problems.push({
      path: 'rounds.quorum',
      sentence: `must be at most rounds.cohortSize, which is ${rounds.cohortSize}, found ${rounds.quorum}`,
    });
  }
  problems.push(...crossCheckAggregation(aggregation), ...crossCheckMasking(plan), ...crossCheckCanary(plan.canary));
  problems.push(...crossCheckPrivacy(plan, givenPrivacy));
  const { unit, mechanism } = plan.privacy;
  const { robust, hostileMax, lowRank, weighting, head } = aggregation;
  const conflicts = conflictsOf({
    ...{ robust, hostileMax, lowRank, weighting },
    ...{ sight: sightOf(plan), quorum: rounds.quorum, groupSize: groupSizeOf(plan) },
    privacy: unit === 'client' ? mechanism : unit,
    byLabel: head === 'by-label',
    root: aggregation.root !== undefined,
  });
  problems.push(...(conflicts.length > 0 ? conflicts : crossCheckGroups(plan)));
  if (isMasked(plan) && plan.quarantine.lengthFactor !== undefined)
    problems.push({
      path: 'quarantine.lengthFactor',
      sentence: `must be left out with masked rounds, where nobody sees the length of an update, found ${plan.quarantine.lengthFactor}; secureAggregation.clipNorm bounds it`,
    });
  return problems;
}

/** The plan as canonical JSON: what the coordinator sends and everybody hashes. Defaults are part of it. */
export function planBytes(plan: Plan): Uint8Array {
  return canonicalJson(plan);
}

/** SHA-256 of `"TRIB-PLAN"` and {@link planBytes}. */
export function planHashOf(plan: Plan): Digest {
  return digestOf(utf8('TRIB-PLAN'), planBytes(plan));
}

/** The hash of the document that sites and consortia approve: of a plan of a phase that of the whole, else {@link planHashOf}. */
export function documentHashOf(plan: Plan): Digest {
  return planHashOf(documentOfPlan(plan));
}
