/** Line charts as inline SVG: axes, light grid, lines with their names at the end. Colours are classes of the page's style, so that they follow light and dark. */

/** One line. `x` ascends; `style` is a class of the page. */
export interface Series {
  readonly name: string;
  readonly style: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Whether the name stands at the end of the line. */
  readonly isNamed: boolean;
}

/** What {@link lineChart} draws. */
export interface ChartOptions {
  /** Read aloud in place of the drawing. */
  readonly title: string;
  readonly xLabel: string;
  readonly series: readonly Series[];
  /** Bounds of y; ticks lie at multiples of a round step between them. */
  readonly yRange: readonly [number, number];
  formatY(value: number): string;
}

// Small, so that letters keep their size where a narrow screen shrinks the drawing.
const width = 460;
const height = 300;
const margin = { top: 14, right: 120, bottom: 46, left: 46 };
/** Least distance between two names at the right. */
const nameGap = 17;

/** A chart of at least one series with at least one point. */
export function lineChart({ title, xLabel, series, yRange, formatY }: ChartOptions): string {
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  const [xLow, xHigh] = [Math.min(...xs), Math.max(...xs)];
  const [yLow, yHigh] = yRange;
  const plotRight = width - margin.right;
  const plotBottom = height - margin.bottom;
  const toX = (x: number) => margin.left + ((x - xLow) / (xHigh - xLow || 1)) * (plotRight - margin.left);
  const toY = (y: number) => plotBottom - ((y - yLow) / (yHigh - yLow || 1)) * (plotBottom - margin.top);
  const grid = ticksBetween(yLow, yHigh, 5).map(
    (tick) =>
      `<line class="grid" x1="${margin.left}" x2="${plotRight}" y1="${round(toY(tick))}" y2="${round(toY(tick))}"/>` +
      `<text class="tick" x="${margin.left - 8}" y="${round(toY(tick) + 4)}" text-anchor="end">${escapeText(formatY(tick))}</text>`,
  );
  const xTicks = ticksBetween(xLow, xHigh, 8)
    .filter(Number.isInteger)
    .map(
      (tick) => `<text class="tick" x="${round(toX(tick))}" y="${plotBottom + 20}" text-anchor="middle">${tick}</text>`,
    );
  const lines = series.map(({ style, points }) => {
    const path = points.map(({ x, y }) => `${round(toX(x))},${round(toY(y))}`).join(' ');
    const dots = points.map(({ x, y }) => `<circle cx="${round(toX(x))}" cy="${round(toY(y))}" r="2.5"/>`).join('');
    return `<g class="line ${style}"><polyline points="${path}"/>${dots}</g>`;
  });
  return (
    `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(title)}">` +
    `${grid.join('')}${xTicks.join('')}` +
    `<text class="tick" x="${(margin.left + plotRight) / 2}" y="${height - 6}" text-anchor="middle">${escapeText(xLabel)}</text>` +
    `${lines.join('')}${names(series, toY, plotRight + 10, plotBottom)}</svg>`
  );
}

/** Names at the ends of the lines, pushed apart where ends are close, and back up where they would leave the plot. */
function names(series: readonly Series[], toY: (y: number) => number, x: number, bottom: number): string {
  const placed = series
    .filter(({ isNamed, points }) => isNamed && points.length > 0)
    .map(({ name, style, points }) => ({ name, style, y: toY(points.at(-1)!.y) }))
    .sort((left, right) => left.y - right.y);
  for (const [index, item] of placed.entries())
    if (index > 0) item.y = Math.max(item.y, placed[index - 1]!.y + nameGap);
  for (let index = placed.length - 1; index >= 0; index--) {
    const limit = index === placed.length - 1 ? bottom : placed[index + 1]!.y - nameGap;
    placed[index]!.y = Math.min(placed[index]!.y, limit);
  }
  return placed
    .map(({ name, style, y }) => `<text class="name ${style}" x="${x}" y="${round(y + 4)}">${escapeText(name)}</text>`)
    .join('');
}

/** Multiples of a round step (1, 2 or 5 times a power of ten) within the bounds, about `count` of them. */
export function ticksBetween(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)!;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Bounds that hold all values, rounded outward to multiples of `step`. */
export function boundsOf(values: readonly number[], step: number): readonly [number, number] {
  const low = Math.floor(Math.min(...values) / step) * step;
  const high = Math.ceil(Math.max(...values) / step) * step;
  return high > low ? [low, high] : [low, low + step];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Text for HTML and SVG, in elements and in attributes. */
export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
