/**
 * Plans of phases: one document, one federation, several trainings one after the other, each with its own task, adapter, training, rounds and
 * aggregation, on what earlier phases published. AdapterFusion is three phases: two adapters, then attention over both.
 *
 *     phases:
 *       - { name: billing, task: …, adapter: { method: bottleneck } }
 *       - { name: delivery, task: …, adapter: { method: bottleneck } }
 *       - name: both
 *         task: …
 *         adapter: { method: fuse, members: [{ id: billing, phase: billing }, { id: delivery, phase: delivery }] }
 *
 * A member with `phase` is the adapter of that phase, with what it learned; `frozen` says whether it goes on learning. A phase with `start` goes
 * on from the whole adapter of an earlier one. Sections that a phase leaves out are those of the document. Of `privacy` a phase has `clipNorm` and
 * `adaptive` for itself; the budget is the document's, and every round number of every phase buys the same share of it (`privacy-share.ts`).
 *
 * What is offered to clients is the *plan of a phase*: the sections of the phase at the top, all phases, and under `phase` which one it is and
 * by their hashes what the earlier ones published. All of it follows from the document, which is what sites and consortia approve.
 */
import * as z from 'zod/mini';
import { UsageError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import { canonicalJson } from './canonical-json.ts';
import { digestField, sectionField, wholeField } from './fields.ts';
import { nearest } from './nearest.ts';
import type { Plan } from './plan.ts';
import { describeProblems, type Problem, shown, throwProblems } from './problems.ts';

/** The sections of a plan that every phase has for itself. */
const sectionNames = ['task', 'adapter', 'training', 'rounds', 'aggregation', 'canary', 'privacy'] as const;
/** What of the section `privacy` is one for all phases: whom a budget protects, and how large it is. */
const budgetFields = ['unit', 'mechanism', 'epsilon', 'dpDelta', 'noiseMultiplier'] as const;

/** One phase with all its sections. */
export interface PlanPhase extends Pick<Plan, (typeof sectionNames)[number]> {
  readonly name: string;
  /** The earlier phase from whose adapter this one goes on. */
  readonly start?: string;
}

/** Which phase a plan is of, and what it builds on. */
export interface PhasePlace {
  /** Of the list of phases. */
  readonly index: number;
  /** Number of its first round: rounds are counted through. */
  readonly firstRound: number;
  /** What every phase before it published last, by model hash, in their order. */
  readonly results: readonly { readonly phase: string; readonly content: Digest }[];
}

/** Where values of an adapter come from: tensors that begin with `prefix` (empty for all) are those of an earlier phase. */
export interface PhaseSource {
  readonly prefix: string;
  readonly phase: string;
}

const phasesMax = 64;
const roundMax = 2 ** 31;
const nameError = 'a name of letters, digits, - and _ that begins with a letter';
const phaseName = z
  .string({ error: nameError })
  .check(z.refine((text) => /^[A-Za-z][\w-]{0,63}$/.test(text), { error: nameError }));
const phasesError = `a list of 1 to ${phasesMax} phases, each with name and sections of a plan`;
const anything = z.optional(z.unknown());
const phasesSchema = z.object({
  phases: z
    .array(
      sectionField({
        name: phaseName,
        start: z.optional(phaseName),
        task: anything,
        adapter: anything,
        training: anything,
        rounds: anything,
        aggregation: anything,
        canary: anything,
        privacy: anything,
      }),
      { error: phasesError },
    )
    .check(z.refine((list) => list.length >= 1 && list.length <= phasesMax, { error: phasesError })),
  phase: z.optional(
    sectionField({
      index: wholeField(0, phasesMax - 1),
      firstRound: wholeField(0, roundMax),
      results: z.array(sectionField({ phase: phaseName, content: digestField() }), {
        error: 'a list of what earlier phases published, each with phase and content',
      }),
    }),
  ),
});

type Sections = Readonly<Record<string, unknown>>;
/** Reads a plan without phases. @throws UsageError `bad-plan`. */
type ParseOne = (value: unknown, source: string) => Plan;

/** Whether a document has phases. */
export function isPhased(value: unknown): value is Sections {
  return typeof value === 'object' && value !== null && 'phases' in value;
}

/** Reads a document with phases, or the plan of one of them, which must follow from it. @throws UsageError `bad-plan` naming the phase. */
export function parsePhases(value: Sections, source: string, parseOne: ParseOne): Plan {
  const { phases: _, phase: __, ...rest } = value;
  const parsed = phasesSchema.safeParse(value);
  if (!parsed.success) throwProblems('bad-plan', 'the plan', source, describeProblems(parsed.error.issues, value));
  const { phases: asked, phase: place } = parsed.data;
  const problems = crossCheck(asked);
  if (problems.length > 0) throwProblems('bad-plan', 'the plan', source, problems);
  const adapters = new Map<string, unknown>();
  const plans = asked.map(({ name, start, ...own }) => {
    const adapter = own.adapter ?? (start === undefined ? rest.adapter : adapters.get(start));
    adapters.set(name, adapter);
    const privacy = own.privacy === undefined ? undefined : withBudget(rest.privacy, own.privacy);
    const given = Object.entries({ ...own, adapter, privacy }).filter(([, found]) => found !== undefined);
    return parseOne({ ...rest, ...Object.fromEntries(given) }, `${source}: phase ${name}`);
  });
  const phases = asked.map(({ name, start }, index): PlanPhase => {
    const { task, adapter, training, rounds, aggregation, canary, privacy } = plans[index]!;
    const sections = { task, adapter, training, rounds, aggregation, canary, privacy };
    return { name, ...(start === undefined ? {} : { start }), ...sections };
  });
  const document: Plan = { ...plans[0]!, phases };
  const further = phases.flatMap((_phase, index) => checkPhase(document, index));
  if (further.length > 0) throwProblems('bad-plan', 'the plan', source, further);
  if (place === undefined) return document;
  const plan = planOfPhase(document, place);
  if (textOf(plan) !== textOf(value))
    throw new UsageError(
      'bad-plan',
      `${source}: the sections of phase ${place.index} are not those that its phases give`,
    );
  return plan;
}

/** The section `privacy` of a phase with the budget of the document. What is no section is left to the schema. */
function withBudget(document: unknown, own: unknown): unknown {
  if (typeof own !== 'object' || own === null) return own;
  const budget = Object.entries((document ?? {}) as Sections).filter(([name]) => isBudgetField(name));
  return { ...Object.fromEntries(budget), ...own };
}

function isBudgetField(name: string): boolean {
  return (budgetFields as readonly string[]).includes(name);
}

const textOf = (value: unknown): string => new TextDecoder().decode(canonicalJson(value));

/** Names: different ones, and references to earlier phases alone. */
function crossCheck(phases: readonly { readonly name: string; readonly start?: string | undefined }[]): Problem[] {
  return phases.flatMap(({ name, start }, index) => {
    const before = phases.slice(0, index).map((phase) => phase.name);
    const repeated = before.includes(name)
      ? [{ path: `phases[${index}].name`, sentence: `must differ from all before it, found ${shown(name)} twice` }]
      : [];
    return [...repeated, ...(start === undefined ? [] : unknownPhase(`phases[${index}].start`, start, before))];
  });
}

function unknownPhase(path: string, found: unknown, before: readonly string[]): Problem[] {
  if (before.some((name) => name === found)) return [];
  const near = typeof found === 'string' ? nearest(found, before) : null;
  const hint = near === null ? '' : ` (did you mean ${near}?)`;
  const allowed =
    before.length === 0
      ? 'left out in the first phase, which has none before it'
      : `a phase before it: ${before.join(', ')}`;
  return [{ path, sentence: `must be ${allowed}${hint}, found ${shown(found)}` }];
}

function checkPhase({ phases = [], privacy }: Plan, index: number): Problem[] {
  const { adapter, start } = phases[index]!;
  const before = phases.slice(0, index).map(({ name }) => name);
  const problems: Problem[] = [];
  walk(adapter, `phases[${index}].adapter`, (member, path) => {
    if (!('phase' in member)) {
      const bound = ['content', 'version'].find((field) => field in member);
      if (bound === undefined) return;
      const sentence = 'must be left out in a plan of phases: what a member begins with is of its phase or the seed';
      problems.push({ path: `${path}.${bound}`, sentence });
      return;
    }
    problems.push(...unknownPhase(`${path}.phase`, member.phase, before));
    const surplus = Object.keys(member).find((field) => !['id', 'phase', 'frozen'].includes(field));
    if (surplus !== undefined)
      problems.push({
        path: `${path}.${surplus}`,
        sentence: 'must be left out: the member is the adapter of its phase',
      });
  });
  const sources = [...sourcesIn(adapter), ...(start === undefined ? [] : [{ prefix: '', phase: start }])];
  for (const { phase } of sources) {
    const found = phases.findIndex(({ name }) => name === phase);
    if (found === -1 || phases[found]!.aggregation.publishedRank === undefined) continue;
    problems.push({
      path: `phases[${found}].aggregation.publishedRank`,
      sentence: `must be left out: phase ${index} builds on what it trains`,
    });
  }
  const { privacy: own } = phases[index]!;
  for (const field of budgetFields)
    if (own[field] !== privacy[field])
      problems.push({
        path: `phases[${index}].privacy.${field}`,
        sentence: `must be left out: the budget is one for all phases, and stands in the document (privacy.${field})`,
      });
  if (index === 0 && privacy.unit === 'record' && privacy.noiseMultiplier !== undefined)
    problems.push({
      path: 'privacy.noiseMultiplier',
      sentence:
        'must be left out in a plan of phases with unit record: a site sizes its noise in every phase to the share of the budget that a round number buys',
    });
  return problems;
}

type Adapter = Plan['adapter'];

/** Visits every member, from the outside in. */
function walk(adapter: Sections, path: string, visit: (member: Sections, path: string) => void): void {
  const { members } = adapter;
  if (!Array.isArray(members)) return;
  for (const [index, member] of (members as unknown[]).entries()) {
    if (typeof member !== 'object' || member === null) continue;
    const place = `${path}.members[${index}]`;
    visit(member as Sections, place);
    if (!('phase' in member)) walk(member as Sections, place, visit);
  }
}

/** Where values come from, by the names that tensors of members have. */
function sourcesIn({ members }: Sections, prefix = ''): PhaseSource[] {
  if (!Array.isArray(members)) return [];
  return (members as readonly Sections[]).flatMap((member) => {
    const own = `${prefix}${String(member.id)}.`;
    return typeof member.phase === 'string' ? [{ prefix: own, phase: member.phase }] : sourcesIn(member, own);
  });
}

/** Where the adapter of a phase takes its values from, beside its seed. */
export function sourcesOf({ phases = [] }: Plan, index: number): readonly PhaseSource[] {
  const { adapter, start } = phases[index]!;
  return [...(start === undefined ? [] : [{ prefix: '', phase: start }]), ...sourcesIn(adapter)];
}

/** The adapter with the methods and settings of the phases that its members are, and what they published where that is known. */
function resolved(adapter: Adapter, phases: readonly PlanPhase[], versions: ReadonlyMap<string, Digest>): Adapter {
  const { members } = adapter;
  if (!Array.isArray(members)) return adapter;
  const whole = (members as readonly Adapter[]).map((member): Adapter => {
    const { phase, ...own } = member;
    if (typeof phase !== 'string') return resolved(member, phases, versions);
    const found = phases.find(({ name }) => name === phase)!;
    const version = versions.get(phase);
    return { ...resolved(found.adapter, phases, versions), ...own, ...(version === undefined ? {} : { version }) };
  });
  return { ...adapter, members: whole };
}

/** The plan of a phase of `document`. */
export function planOfPhase(document: Plan, place: PhasePlace): Plan {
  const { phases = [] } = document;
  const phase = phases[place.index];
  const expected = phases.slice(0, place.index).map(({ name }) => name);
  const found = place.results.map(({ phase: name }) => name);
  if (phase === undefined || expected.join() !== found.join())
    throw new UsageError(
      'bad-plan',
      `phase ${place.index} builds on the results of ${expected.join(', ')}, found ${found.join(', ')}`,
    );
  // Every phase before published its rounds, and the number before this one's first began it.
  const least = phases.slice(0, place.index).reduce((sum, { rounds }) => sum + rounds.count, place.index);
  if (place.index === 0 && place.firstRound !== 0)
    throw new UsageError('bad-plan', `the first phase begins with round 0, found ${place.firstRound}`);
  if (place.firstRound < least)
    throw new UsageError(
      'bad-plan',
      `phase ${place.index} begins with round ${least} at the earliest, found ${place.firstRound}: the phases before it publish all their rounds`,
    );
  const { name: _, start: __, adapter, ...sections } = phase;
  const versions = new Map(place.results.map(({ phase: name, content }) => [name, content]));
  return { ...document, ...sections, adapter: resolved(adapter, phases, versions), phase: place };
}

/** The plans of all phases before anything was published: what a check looks at. A plan without phases is its own only one. */
export function plansAhead(plan: Plan): readonly Plan[] {
  const { phases } = plan;
  if (phases === undefined) return [plan];
  return phases.map((phase) => {
    const { name: _, start: __, adapter, ...sections } = phase;
    return { ...plan, ...sections, adapter: resolved(adapter, phases, new Map()) };
  });
}

/** The document that a plan of a phase is of; a plan without phases is its own. */
export function documentOfPlan(plan: Plan): Plan {
  const { phase: place, ...rest } = plan;
  const [first] = plan.phases ?? [];
  if (place === undefined || first === undefined) return plan;
  const { name: _, start: __, ...sections } = first;
  return { ...rest, ...sections };
}

/** Rounds of a plan, over all its phases. */
export function roundCountOf(plan: Plan): number {
  return plansAhead(plan).reduce((sum, { rounds }) => sum + rounds.count, 0);
}

/** Round numbers that a plan uses up where no round is void: its rounds, and the number with which each phase after the first begins. */
export function roundNumbersOf({
  rounds,
  phases,
}: {
  readonly rounds: { readonly count: number };
  readonly phases?: readonly { readonly rounds: { readonly count: number } }[];
}): number {
  if (phases === undefined) return rounds.count;
  return phases.reduce((sum, phase) => sum + phase.rounds.count, phases.length - 1);
}
