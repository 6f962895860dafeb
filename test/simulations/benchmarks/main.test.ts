import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BenchmarkReport } from '../../../simulations/benchmarks/benchmark.ts';
import { integerFlag, median } from '../../../simulations/benchmarks/benchmark.ts';

const program = fileURLToPath(new URL('../../../simulations/benchmarks/main.ts', import.meta.url));

function run(...words: readonly string[]): {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
} {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...words], { encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

/** The report of a run: one JSON document, alone on standard output. */
function reportOf(...words: readonly string[]): BenchmarkReport {
  const { code, out, err } = run(...words, '--json');
  assert.equal(code, 0, err);
  assert.equal(out.indexOf('\n'), out.length - 1, out);
  return JSON.parse(out) as BenchmarkReport;
}

function assertFigures(report: BenchmarkReport, names: readonly string[]): void {
  for (const name of names) {
    const figure = report.results[name];
    assert.ok(typeof figure === 'number' && Number.isFinite(figure) && figure > 0, `${name}: ${figure}`);
  }
}

describe('benchmarks', () => {
  it('[BEN-1] coordinator: takes every update of both loads, and reports rate and memory by number of clients', () => {
    const report = reportOf('coordinator', '--few', '2', '--many', '3', '--bytes', '300000');
    assert.deepEqual([report.name, report.backend, report.threads], ['coordinator', null, 1]);
    assertFigures(report, ['updatesPerSecond', 'updatesPerCpuSecond2', 'peakMegabytes2', 'peakMegabytes3']);
    const { updatesPerSecond, updatesPerSecond2, updatesPerSecond3, updateBytes } = report.results;
    assert.equal(updatesPerSecond, Math.min(Number(updatesPerSecond2), Number(updatesPerSecond3)));
    assert.equal(updateBytes, 300_000);
  });

  it('[BEN-2] round: real rounds and bare exchanges in turns, their ratio, and where a round spends its time', () => {
    const report = reportOf('round', '--clients', '2', '--dim', '70000', '--turns', '1');
    assert.deepEqual([report.name, report.backend, report.threads], ['round', null, 1]);
    assertFigures(report, ['medianMs', 'floorMs', 'cpuMs', 'floorCpuMs', 'fetchMs', 'uploadMs', 'publishMs']);
    const { medianMs, floorMs, ratio, clients, dim, rounds } = report.results;
    assert.equal(ratio, Number(medianMs) / Number(floorMs));
    assert.deepEqual([clients, dim, rounds], [2, 70_000, 6]);
  }).timeout(60_000);

  it('[BEN-5] load: reading and loading by processes of their own, sharded or not, what they need, and when training starts', () => {
    const report = reportOf(
      'load',
      '--megabytes',
      '4',
      '--shards',
      '3',
      '--type',
      'BF16',
      '--turns',
      '1',
      '--frozen-weights',
      'file',
    );
    assert.deepEqual([report.name, report.backend, report.threads], ['load', 'wasm', 1]);
    assertFigures(report, ['readMs', 'loadMs', 'peakMegabytes', 'readPeakMegabytes']);
    assertFigures(report, ['firstStepMs', 'stepMs', 'trainingPeakMegabytes']);
    const { startMs, startRatio, firstStepMs, frozenWeights } = report.results;
    assert.ok(Number(startMs) < Number(firstStepMs), `${startMs} before ${firstStepMs}`);
    assert.ok(Number(report.results.trainingPeakMegabytes) >= Number(report.results.peakMegabytes));
    assert.equal(frozenWeights, 'file');
    const { readMs, loadMs, ratio, fileMegabytes, peakMegabytes, memoryRatio, shards, type } = report.results;
    assert.equal(ratio, Number(loadMs) / Number(readMs));
    assert.equal(startRatio, Number(startMs) / Number(readMs));
    assert.ok(Math.abs(Number(fileMegabytes) - 4) < 0.5, String(fileMegabytes));
    assert.ok(
      Math.abs(Number(memoryRatio) - Number(peakMegabytes) / Number(fileMegabytes)) < 0.1 * Number(memoryRatio),
    );
    assert.deepEqual([shards, type], [3, 'BF16']);
  }).timeout(60_000);

  it('[BEN-3] explains itself, and refuses what it does not know with exit code 2 and nothing on standard output', () => {
    const help = run('--help');
    assert.equal(help.code, 0);
    for (const name of ['step', 'load', 'coordinator', 'round', '--clients', '--bytes', '--rank', '--megabytes']) {
      assert.ok(help.out.includes(name), name);
    }
    for (const [words, message] of [
      [[], /expected one of step, .*secure-aggregation, .*coordinator, .*round/],
      [['rounds'], /expected one of step, .*secure-aggregation, .*coordinator, .*round/],
      [['round', '--few', '2'], /expected one of --clients, --dim, --turns, --json, found "--few"/],
      [['round', '2'], /found "2"/],
      [['round', '--clients', 'many'], /--clients must be a positive whole number, found "many"/],
      [['coordinator', '--bytes', '6'], /--bytes must be a multiple of 4, found 6/],
      [['coordinator', '--json', 'yes'], /--json takes no value/],
      [['load', '--type', 'F64'], /--type must be one of F32, F16, BF16, found "F64"/],
      [['load', '--frozen-weights', 'half'], /--frozen-weights must be one of auto, file, .*, found "half"/],
    ] as const) {
      const refused = run(...words);
      assert.deepEqual([refused.code, refused.out], [2, ''], refused.err);
      assert.match(refused.err, message);
    }
  }).timeout(60_000);

  it('[BEN-4] takes the middle of figures, and numbers from flags', () => {
    assert.equal(median([5, 1, 3]), 3);
    assert.equal(median([4, 1, 3, 2]), 2.5);
    assert.equal(integerFlag({ rank: '8' }, 'rank', 4), 8);
    assert.equal(integerFlag({}, 'rank', 4), 4);
    for (const wrong of ['0', '-1', '1.5', 'x', true] as const) {
      assert.throws(() => integerFlag({ rank: wrong }, 'rank', 4), RangeError);
    }
  });
});
