import { strict as assert } from 'node:assert';
import { bench } from '../../../simulations/benchmarks/step.ts';

const small = {
  backend: 'wasm',
  layers: '2',
  width: '16',
  heads: '2',
  'feed-forward': '32',
  sequence: '8',
  batch: '4',
  rank: '2',
};

describe('benchmark step', () => {
  it('[BST-1] reports both ways of computing the same step', async () => {
    const lines: string[] = [];
    const { machine, ...report } = await bench(small, (line) => lines.push(line));
    assert.ok(machine.length > 0);
    assert.deepEqual([report.name, report.backend, report.threads], ['step', 'wasm', 1]);
    const { msPerStep, gflops, peakMegabytes, tfjsGradientsMsPerStep, ratio, lossDifference } = report.results;
    for (const figure of [msPerStep, tfjsGradientsMsPerStep, ratio, peakMegabytes, gflops])
      assert.ok(typeof figure === 'number' && Number.isFinite(figure) && figure >= 0, String(figure));
    // The library alone computes the same network: else the comparison would mean nothing.
    assert.ok(typeof lossDifference === 'number' && lossDifference < 1e-5, String(lossDifference));
    assert.equal(lines.length, 2);
  });

  it('[BST-3] says where there is no PyTorch that it was not compared', async function () {
    this.timeout(60_000);
    const lines: string[] = [];
    const flags = { ...small, backend: 'cpu', against: 'pytorch', turns: '1', python: '/nowhere/python' };
    const { backend, results } = await bench(flags, (line) => lines.push(line));
    assert.equal(backend, 'cpu');
    assert.equal(results.ratio, null);
    assert.equal(results.pytorch, 'NOT RUN: /nowhere/python: not there');
    for (const figure of [results.msPerStep, results.clientMsPerStep])
      assert.ok(typeof figure === 'number' && figure > 0);
    // What is left out of the last layer changes no loss.
    const { clientLossDifference: difference } = results;
    assert.ok(typeof difference === 'number' && difference < 1e-5, String(difference));
    assert.match(lines[0]!, /^NOT RUN against PyTorch/);
    await assert.rejects(
      bench({ ...flags, against: 'abacus' }, () => {}),
      /--against must be pytorch, found "abacus"/,
    );
  });

  it('[BST-2] refuses a back end that does not exist', async () => {
    await assert.rejects(
      bench({ backend: 'abacus' }, () => {}),
      /--backend must be auto or one of node-gpu, .*cpu, found "abacus"/,
    );
  });
});
