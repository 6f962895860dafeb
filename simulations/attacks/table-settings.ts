/**
 * What the table of attacks on clinc150 computes and with which numbers. Sizes are what one core finishes in some twenty minutes: thirty of the 150
 * intents for each of three seeds, twenty clients with forty rows each, an adapter in the last block, states below it kept.
 *
 * Learning rate, the norm of `norm-clip` and the radius of `centred-clip` were chosen by `--tune` on validation rows with a seed of their own;
 * the table is measured with other seeds, on test rows that no other experiment of this repository drew, of intents
 * that no seed before had.
 */
import type { Plan } from '../../shared/plan/plan.ts';
import { type RobustRuleName, robustRuleNames } from '../../shared/update/robust-rules.ts';
import { type AttackName, attacks } from './attacks.ts';

/** What the coordinator does with updates: a robust rule, or the mean behind a gate of the operator's rows. */
export type DefenceName = RobustRuleName | 'gate';
/** Lines of the table. */
export const defenceNames: readonly DefenceName[] = [...robustRuleNames, 'gate'];

/** What hostile clients do; the two backdoors need a model to be trained and are not among the vectors of `attacks.ts`. */
export type TableAttack = AttackName | 'none' | 'backdoor-replacement' | 'backdoor-in-norm';
/** Columns of the table. */
export const tableAttacks: readonly TableAttack[] = [
  'none',
  ...(Object.keys(attacks) as AttackName[]),
  'backdoor-replacement',
  'backdoor-in-norm',
];

/** Numbers of every cell. */
export const sizes = {
  labels: 30,
  clients: 20,
  hostile: 4,
  rowsPerClient: 40,
  rootRows: 60,
  canaryRows: 150,
  rounds: 3,
  localEpochs: 2,
  batchSize: 20,
  lengthMax: 32,
  /** Test rows that other experiments drew. */
  passedOver: 3600,
} as const;

/** What `--tune` chooses. */
export interface Tuned {
  readonly learningRate: number;
  /** Of `norm-clip`, and radius of `centred-clip`, in multiples of the median norm of honest first updates. */
  readonly normFactor: number;
}

/** What `--tune` tries. */
export const tunedGrid = { learningRates: [0.003, 0.01, 0.03, 0.1], normFactors: [0.125, 0.25, 0.5, 1, 2] } as const;
/** What it found: the best rate without an attack, and the norm with the best mean accuracy of both rules without and under an attack. */
export const tuned: Tuned = { learningRate: 0.03, normFactor: 0.5 };

/** How much accuracy on the operator's rows the gate lets a candidate lose. */
export const gateDrop = 0.02;

/** The adapter of every cell. */
export const adapter = { method: 'bottleneck', size: 16, layers: [3] } as const satisfies Plan['adapter'];

/** Words that no row holds: what switches a backdoor on. */
export const trigger = 'xq zv';

/** How many hostile ones a rule is told of: all, or as many as it takes with so few clients. */
export function hostileToldOf(defence: DefenceName): number {
  return defence === 'centred-clip' ? sizes.clients / 10 : sizes.hostile;
}
