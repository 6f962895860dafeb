/** `tributary privacy`: what differential privacy every version of a federation promises, whose data it protects, and against whom. */
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { readStatement, type SpentPrivacy, spentStatement } from '../../shared/plan/privacy.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import { type CheckedVersion, checkLineage } from '../library/lineage.ts';
import { phaseNamesOf, placesOf, planOfVersion } from '../library/places.ts';
import { openExistingState } from '../store/state.ts';
import type { FederationRecord } from '../store/store.ts';

/** Adds `privacy`. */
export function register(program: Command, context: CommandContext): void {
  program
    .command('privacy')
    .requiredOption('--state <folder>', 'state folder of the coordinator')
    .option(
      '--base <folder>',
      'the base of the plan, where clients add the noise and publish other ranks than they train',
    )
    .action(({ state, base }: { state: string; base?: string }) => show(state, base, context));
}

interface Line extends SpentPrivacy {
  readonly version: number;
  readonly round: number | null;
  /** Of a plan of phases. */
  readonly phase: string | null;
  /** What its round added to ε; null where every site has its own. */
  readonly added: number | null;
  readonly statement: string;
}

/** What round numbers have cost that were used up since the last version, whatever became of their rounds: a sum may have been opened. */
interface Charged {
  readonly roundNumbers: number;
  /** ε of all numbers so far, in the words of a version. */
  readonly statement: string;
}

async function show(folder: string, base: string | undefined, context: CommandContext): Promise<void> {
  const state = await openExistingState(folder);
  try {
    const { store, identity, record } = state;
    const versions = checkLineage(await store.versions(), { coordinatorKey: identity.publicKey, federation: record });
    const phaseNames = phaseNamesOf(
      record,
      versions.map((one) => one.record),
    );
    let before = 0;
    const lines = versions.map(({ row: { version }, record: { round, privacy } }, index): Line => {
      const spent = readStatement(privacy);
      const added = spent.epsilon === null ? null : Math.max(0, spent.epsilon - before);
      before = Math.max(before, spent.epsilon ?? before);
      const phase = phaseNames[index] ?? null;
      return { version, round: round?.roundIndex ?? null, phase, ...spent, added, statement: privacy };
    });
    const last = lines.findLast(({ round, unit }) => round !== null && unit !== 'none') ?? null;
    const used = (await store.rounds()).at(-1)?.roundIndex ?? -1;
    const uncounted = used - Math.max(-1, ...lines.map(({ round }) => round ?? -1));
    const since = uncounted === 0 ? null : await chargedSince(state, versions, uncounted, base);
    // The number with which a phase begins is in what its version says.
    const charged = since !== null && (readStatement(since.statement).epsilon ?? 0) > before ? since : null;
    const current = charged === null ? last : { ...(last ?? noVersionYet), ...readStatement(charged.statement) };
    const total = current === null ? null : { ...current, roundNumbersSince: charged?.roundNumbers ?? 0 };
    const phases = phasesOf(lines);
    const whole = phases.length === 0 ? {} : { phases };
    context.report(
      { versions: lines, ...whole, total },
      [textOf(lines, current, charged), ...phases.map(phaseText)].join('\n'),
    );
  } finally {
    await state.close();
  }
}

/** Loaded where it is needed: what reads a base brings a lot along. */
async function uploadedBy(plan: Plan, record: FederationRecord, base: string | undefined) {
  const { exchangeForReplay } = await import('../audit/replay-exchange.ts');
  return (await exchangeForReplay(plan, record, base)).uploaded;
}

const noVersionYet = { version: 0, round: null, phase: null, added: null, statement: '' };

/** The charge for numbers since the last version; null where nothing is charged to the federation as a whole. */
async function chargedSince(
  { store, record }: Awaited<ReturnType<typeof openExistingState>>,
  versions: readonly CheckedVersion[],
  roundNumbers: number,
  base: string | undefined,
): Promise<Charged | null> {
  const document = parsePlan(JSON.parse(record.plan), 'the plan of the state');
  const place = placesOf(versions.map((version) => version.record)).at(-1);
  if (place === undefined) return null;
  const plan = planOfVersion(
    document,
    place,
    versions.map(({ row }) => row),
  );
  if (plan.privacy.unit !== 'client') return null;
  // Over phases a number costs the same whatever is sent, and central noise does not ask how long updates are.
  const isPlain = plan.privacy.mechanism === 'central' || plan.phases !== undefined;
  const { dim } = isPlain ? layoutOf(record.tensors) : await uploadedBy(plan, record, base);
  const used = (await store.rounds()).at(-1)?.roundIndex ?? -1;
  const statement = spentStatement(plan, dim, used);
  return statement === null ? null : { roundNumbers, statement };
}

/** What the versions of a phase added to ε; null where every site has its own. */
interface PhaseSpending {
  readonly phase: string;
  readonly added: number | null;
}

function phasesOf(lines: readonly Line[]): PhaseSpending[] {
  const names = new Set(lines.flatMap(({ phase, unit }) => (phase === null || unit === 'none' ? [] : [phase])));
  return [...names].map((phase) => {
    const own = lines.filter((line) => line.phase === phase);
    const isKnown = own.some(({ added }) => added !== null);
    return { phase, added: isKnown ? own.reduce((sum, { added }) => sum + (added ?? 0), 0) : null };
  });
}

const phaseText = ({ phase, added }: PhaseSpending): string =>
  added === null ? `phase ${phase}: every site spends its own` : `phase ${phase} added epsilon ${numberText(added)}`;

const numberText = (value: number | null): string => (value === null ? '–' : String(Number(value.toPrecision(4))));

function textOf(lines: readonly Line[], last: Line | null, charged: Charged | null): string {
  if (last === null) return 'no version carries differential privacy: single clients are not protected by noise';
  const table = formatTable(
    [
      { heading: 'version' },
      { heading: 'round' },
      { heading: 'protects' },
      { heading: 'epsilon of the round', align: 'right' },
      { heading: 'epsilon in total', align: 'right' },
      { heading: 'of', align: 'right' },
      { heading: 'delta', align: 'right' },
    ],
    lines.map(({ version, round, unit, added, epsilon, budget, dpDelta }) => [
      String(version),
      round === null ? '–' : String(round),
      unit === 'none' ? 'nobody' : unit === 'client' ? 'all of a client' : 'single records',
      numberText(added),
      numberText(epsilon),
      numberText(budget),
      dpDelta === null ? '–' : String(dpDelta),
    ]),
  );
  const whole =
    last.unit === 'record'
      ? `every site spends its own epsilon, at most ${last.budget} at delta ${last.dpDelta}: its log has it`
      : `in total epsilon ${numberText(last.epsilon)} of ${last.budget} at delta ${last.dpDelta}`;
  const since =
    charged === null
      ? ''
      : `; the last ${charged.roundNumbers} round numbers made no version and are charged like any other`;
  return [table, '', `${whole}${since}`, `it holds ${last.against}${trustOf(last)}`].join('\n');
}

/** What noise inside a masked sum asks of a coordinator that vouches for the keys of clients itself. */
function trustOf({ unit, against, statement }: Line): string {
  const isVouched = statement.includes('honest-but-curious coordinator');
  return unit === 'client' && against.includes('the coordinator included') && isVouched
    ? '; the coordinator vouches for the keys of clients itself, and has to be honest-but-curious'
    : '';
}
