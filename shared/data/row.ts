/** What the readers deliver and the partitioners deal out: one labelled text. */

/** A labelled text with its place in the file (1 is the first line) and, where the file has one, its natural owner. */
export interface Row {
  readonly text: string;
  readonly label: string;
  readonly group?: string;
  readonly line: number;
}

/** The distinct labels of `rows` in the order of their code units, which every machine agrees on. */
export function labelsOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.map((row) => row.label))].sort();
}
