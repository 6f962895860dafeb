/** A thread that computes the cells of the table of attacks. */
import { serveCells } from '../experiments/serve-cells.ts';
import { runAttackCell } from './table-world.ts';

serveCells(runAttackCell);
