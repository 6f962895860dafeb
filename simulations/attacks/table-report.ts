/** The table of attacks as Markdown: accuracy of every defence under every attack, and how often the backdoor works. */
import { spreadOf } from '../experiments/report.ts';
import type { AttackResult } from './table-cells.ts';
import {
  type DefenceName,
  defenceNames,
  gateDrop,
  sizes,
  type TableAttack,
  tableAttacks,
  tuned,
} from './table-settings.ts';

/** Test rows of the intents of one seed. */
const testRowsOfSeed = 150;
/** Points of accuracy that an attack may cost, by the acceptance rule of the small world in the tests. */
const acceptedDrop = 5;

const points = (values: readonly number[]): string => {
  if (values.length === 0) return '–';
  const { mean, deviation } = spreadOf(values.map((value) => 100 * value));
  return deviation === null ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
};
const meanOf = (values: readonly number[]): number => spreadOf(values).mean;

/** The report; `command` repeats it. */
export function attackMarkdown(results: readonly AttackResult[], command: string): string {
  const of = (method: DefenceName, attack: TableAttack): AttackResult[] =>
    results.filter(({ cell }) => cell.method === method && cell.attack === attack);
  const defences = defenceNames.filter((name) => results.some(({ cell }) => cell.method === name));
  const seeds = new Set(results.map(({ cell }) => cell.seed)).size;
  const table = (
    cell: (method: DefenceName, attack: TableAttack) => string,
    lines: readonly TableAttack[],
  ): string[] => [
    `| attack | ${defences.map((name) => (name === 'none' ? 'mean' : name)).join(' | ')} |`,
    `| --- | ${defences.map(() => '---:').join(' | ')} |`,
    ...lines.map((attack) => `| ${attack} | ${defences.map((name) => cell(name, attack)).join(' | ')} |`),
  ];
  const accuracy = (method: DefenceName, attack: TableAttack): string => {
    const own = of(method, attack);
    const voids = own.reduce((sum, { voidRounds }) => sum + voidRounds, 0);
    return `${points(own.map((one) => one.accuracy))}${voids > 0 ? ` (${voids} void)` : ''}`;
  };
  const verdicts = defences.map((name) => {
    const clean = of(name, 'none').map((one) => one.accuracy);
    const lost = tableAttacks.filter((attack) => {
      const own = of(name, attack).map((one) => one.accuracy);
      return own.length > 0 && clean.length > 0 && 100 * (meanOf(clean) - meanOf(own)) > acceptedDrop;
    });
    const verdict = lost.length === 0 ? 'nothing' : lost.join(', ');
    return `- ${name === 'none' ? 'mean' : name}: loses more than ${acceptedDrop} points under: ${verdict}.`;
  });
  const { clients, hostile, labels, rowsPerClient, rounds, localEpochs, batchSize } = sizes;
  return [
    '# Attacks on clinc150',
    '',
    `${hostile} of ${clients} clients are hostile, in every round, and know what the honest send; ${seeds === 1 ? 'one seed' : `mean ± standard deviation over ${seeds} seeds, a value without deviation is of one seed`}. Accuracy in percent on test rows; guessing gives ${(100 / labels).toFixed(1)}.`,
    '',
    ...table(accuracy, tableAttacks),
    '',
    'Share of test rows with the trigger, of other intents, that are taken for the intent of the backdoor, in percent:',
    '',
    ...table(
      (method, attack) => points(of(method, attack).map((one) => one.backdoor)),
      ['none', 'backdoor-replacement', 'backdoor-in-norm'],
    ),
    '',
    ...verdicts,
    '',
    `Setting: ${labels} of the 150 intents, others for every seed and \`oos\` (out of scope) in none, ${rowsPerClient} rows for every client, dealt evenly; the base that ships with an adapter in its last block; ${rounds} rounds of ${localEpochs} local epochs, batches of ${batchSize}, AdamW at ${tuned.learningRate}. Norm of \`norm-clip\` and radius of \`centred-clip\`: ${tuned.normFactor} times the median norm of honest first updates. These were chosen on validation rows with a seed and intents of their own (\`--tune\`, \`tuning.jsonl\`; the best rate and the best norm lie inside what was tried). The test rows are some that no experiment of this repository had looked at: about ${testRowsOfSeed} for every seed. They take the place of an earlier table on other rows, half of which were \`oos\`.`,
    '',
    `\`gate\` is the mean behind a canary gate with ${sizes.canaryRows} rows of the operator and a drop of at most ${100 * gateDrop} points: what it refuses is not published, so under an attack in every round nothing may be learned at all; an adapter that has learned nothing yet has nothing to lose, so attacks from the first round on pass as long as they only keep it there; and a backdoor that leaves those rows alone passes. \`fltrust\` has ${sizes.rootRows} clean rows of the operator. \`centred-clip\` is told of ${clients / 10} hostile clients, the most that its condition n >= 10f allows, and meets ${hostile}. \`not-a-number\` and \`infinite\` are refused on receipt, so that rules see the honest updates alone; a rule that needs more of them for so many hostile clients has no answer. \`(k void)\`: so many rounds of all seeds made no version. With so few rows and rounds differences of less than five points mean little; seeds differ by their intents, so that deviations are wider than what separates two defences on one seed (\`clinc150.jsonl\`).`,
    '',
    `Reproduce: \`${command}\` (the data are not part of the repository: \`--data DIR\` or \`TRIBUTARY_DATA\`).`,
    '',
  ].join('\n');
}

/** What `--tune` found, a line for each try. */
export function tuneText(results: readonly AttackResult[]): string {
  return results
    .map(({ cell: { method, attack, settings }, accuracy }) => {
      const { learningRate, normFactor } = settings;
      return `${method} under ${attack}, learning rate ${learningRate}, norm ${normFactor}: ${(100 * accuracy).toFixed(1)} %`;
    })
    .join('\n');
}
