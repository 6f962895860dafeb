/** A thread that computes the cells of the comparison of methods. */
import { serveCells } from '../experiments/serve-cells.ts';
import { runMethod } from './run-method.ts';

serveCells(runMethod);
