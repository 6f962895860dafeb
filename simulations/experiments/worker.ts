/** A thread that computes the cells of the federations on real data. */
import { runCell } from './run-cell.ts';
import { serveCells } from './serve-cells.ts';

serveCells(runCell);
