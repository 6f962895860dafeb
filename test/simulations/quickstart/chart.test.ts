/** Charts: round ticks, bounds that hold the data, names that stand apart, text that cannot break the page. */
import { strict as assert } from 'node:assert';
import { boundsOf, escapeText, lineChart, ticksBetween } from '../../../simulations/quickstart/chart.ts';

const series = (name: string, ys: readonly number[]) => ({
  name,
  style: 'federated',
  isNamed: true,
  points: ys.map((y, index) => ({ x: index + 1, y })),
});
const chart = (ys: readonly (readonly number[])[]): string =>
  lineChart({
    title: 'Accuracy "<of>" sites',
    xLabel: 'round',
    series: ys.map((list, index) => series(`line ${index}`, list)),
    yRange: [0, 1],
    formatY: (y) => `${y}`,
  });

describe('charts', () => {
  it('[CHA-1] ticks lie at round steps within the bounds', () => {
    assert.deepEqual(ticksBetween(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
    assert.deepEqual(ticksBetween(0.35, 0.85, 5), [0.4, 0.5, 0.6, 0.7, 0.8]);
    assert.deepEqual(ticksBetween(1, 8, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.deepEqual(ticksBetween(1, 1, 8), [1]);
  });

  it('[CHA-2] bounds hold all values and are never empty', () => {
    const [low, high] = boundsOf([0.31, 0.72], 0.05);
    assert.ok(low <= 0.31 && low > 0.25 && high >= 0.72 && high < 0.8);
    assert.deepEqual(boundsOf([0.5], 0.5), [0.5, 1]);
  });

  it('[CHA-3] names of lines that end together stand apart and inside the drawing', () => {
    const names = [
      ...chart([
        [0.1, 0.5],
        [0.2, 0.5],
        [0.3, 0.51],
        [0, 0],
        [0, 0],
      ]).matchAll(/class="name [^"]*" x="\d+" y="([\d.]+)"/g),
    ];
    const places = names.map(([, y]) => Number(y)).sort((left, right) => left - right);
    assert.equal(places.length, 5);
    for (const [index, place] of places.entries()) if (index > 0) assert.ok(place - places[index - 1]! >= 16.9);
    assert.ok(places.at(-1)! <= 300);
  });

  it('[CHA-4] draws every point, and a single one too', () => {
    assert.equal([...chart([[0.1, 0.2, 0.4]]).matchAll(/<circle/g)].length, 3);
    assert.ok(!/NaN|Infinity/.test(chart([[0.5]])));
  });

  it('[CHA-5] text is escaped in elements and attributes', () => {
    assert.equal(escapeText(`<a href="x">'&`), '&lt;a href=&quot;x&quot;&gt;&#39;&amp;');
    assert.ok(chart([[0.1]]).includes('aria-label="Accuracy &quot;&lt;of&gt;&quot; sites"'));
  });
});
