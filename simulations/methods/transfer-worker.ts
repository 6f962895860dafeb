/** A thread that computes the cells of the transfer between languages. */
import { serveCells } from '../experiments/serve-cells.ts';
import { runTransfer } from './transfer.ts';

serveCells(runTransfer);
