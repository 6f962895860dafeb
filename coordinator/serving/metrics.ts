/** Figures of a server in the text format of Prometheus (version 0.0.4): counters, gauges that are asked when they are read, and histograms. */

/** One figure. */
interface Family {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  lines(): readonly string[];
}

/** Counts by the values of its labels, of which there must be few. */
export interface Counter {
  add(labels?: Readonly<Record<string, string>>, by?: number): void;
}

/** Sorts values into buckets. */
export interface Histogram {
  observe(value: number): void;
}

/** The figures of one server. */
export interface Figures {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string, read: () => number): void;
  /** `bounds` rise. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  /** All of them, as text. */
  text(): string;
}

/** No figure yet. */
export function createFigures(): Figures {
  const families: Family[] = [];
  return {
    counter: (name, help) => {
      const counts = new Map<string, number>();
      families.push({
        name,
        kind: 'counter',
        help,
        lines: () => [...counts].map(([labels, count]) => `${name}${labels} ${count}`),
      });
      return {
        add: (labels = {}, by = 1) => {
          const key = labelText(labels);
          counts.set(key, (counts.get(key) ?? 0) + by);
        },
      };
    },
    gauge: (name, help, read) => {
      families.push({ name, kind: 'gauge', help, lines: () => [`${name} ${read()}`] });
    },
    histogram: (name, help, bounds) => {
      const counts = bounds.map(() => 0);
      let [count, sum] = [0, 0];
      families.push({
        name,
        kind: 'histogram',
        help,
        lines: () => [
          ...bounds.map((bound, index) => `${name}_bucket{le="${bound}"} ${counts[index]}`),
          `${name}_bucket{le="+Inf"} ${count}`,
          `${name}_sum ${sum}`,
          `${name}_count ${count}`,
        ],
      });
      return {
        observe: (value) => {
          for (const [index, bound] of bounds.entries()) if (value <= bound) counts[index]!++;
          count++;
          sum += value;
        },
      };
    },
    text: () =>
      families
        .flatMap(({ name, kind, help, lines }) => [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...lines()])
        .join('\n')
        .concat('\n'),
  };
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([label, value]) => `${label}="${value.replaceAll(/["\\\n]/g, '_')}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}
