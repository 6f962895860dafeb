/** Tables of plain text: aligned columns, two blanks between them, no lines drawn. */

/** A column: its heading and on which side its cells stand. Numbers stand right. */
export interface Column {
  readonly heading: string;
  readonly align?: 'left' | 'right';
}

/**
 * Rows as aligned text with a rule under the headings. Every row has one cell per column; widths count graphemes.
 * Blanks at the ends of lines are removed, and there is no line break at the end.
 */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ heading }, index) =>
    Math.max(width(heading), ...rows.map((row) => width(row[index] ?? ''))),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, index) => {
        const cell = cells[index] ?? '';
        const padding = ' '.repeat(widths[index]! - width(cell));
        return align === 'right' ? padding + cell : cell + padding;
      })
      .join('  ')
      .trimEnd();
  const headings = line(columns.map(({ heading }) => heading));
  const rule = widths.map((size) => '-'.repeat(size)).join('  ');
  return [headings, rule, ...rows.map(line)].join('\n');
}

/** Characters as people count them: an accent or a skin tone belongs to what it modifies. */
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

function width(text: string): number {
  return Array.from(graphemes.segment(text)).length;
}
