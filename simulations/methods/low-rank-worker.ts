/** A thread that computes federations under rules for low-rank pairs. */
import { serveCells } from '../experiments/serve-cells.ts';
import { runSkew } from './low-rank-skew.ts';

serveCells(runSkew);
