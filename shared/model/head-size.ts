/** The one rule that ties heads to width. */
import { FormatError } from '../core/errors.ts';

/** Returns `headCount`. @throws FormatError `bad-configuration` unless it divides `hiddenSize`. */
export function requireHeadSize(hiddenSize: number, headCount: number): number {
  if (hiddenSize % headCount === 0) return headCount;
  throw new FormatError('bad-configuration', `config.json: ${headCount} heads do not divide a width of ${hiddenSize}`);
}
