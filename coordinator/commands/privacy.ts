/** `tributary privacy`: what differential privacy every version of a federation promises, whose data it protects, and against whom. */
import type { Command } from 'commander';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { formatTable } from '../../shared/command-line/table.ts';
import { readStatement, type SpentPrivacy } from '../../shared/plan/privacy.ts';
import { checkLineage } from '../library/lineage.ts';
import { phaseNamesOf } from '../library/places.ts';
import { openExistingState } from '../store/state.ts';

/** Adds `privacy`. */
export function register(program: Command, context: CommandContext): void {
  program
    .command('privacy')
    .requiredOption('--state <folder>', 'state folder of the coordinator')
    .action(({ state }: { state: string }) => show(state, context));
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

async function show(folder: string, context: CommandContext): Promise<void> {
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
    // Numbers that were used up are charged, whatever became of their rounds.
    const used = (await store.rounds()).at(-1)?.roundIndex ?? -1;
    const uncounted = last?.round == null ? 0 : Math.max(0, used - last.round);
    const total = last === null ? null : { ...last, roundNumbersSince: uncounted };
    const phases = phasesOf(lines);
    const whole = phases.length === 0 ? {} : { phases };
    context.report(
      { versions: lines, ...whole, total },
      [textOf(lines, last, uncounted), ...phases.map(phaseText)].join('\n'),
    );
  } finally {
    await state.close();
  }
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

function textOf(lines: readonly Line[], last: Line | null, uncounted: number): string {
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
  const since = uncounted === 0 ? '' : `; ${uncounted} round numbers used since are charged with the next version`;
  return [table, '', `${whole}${since}`, `it holds ${last.against}`].join('\n');
}
