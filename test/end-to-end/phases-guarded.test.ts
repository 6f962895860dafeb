/** Phases with everything that guards a round: noise within one budget, masks and vanished clients, robust rules, gates, quarantine. */
import { strict as assert } from 'node:assert';
import { readStatement } from '../../shared/plan/privacy.ts';
import { numberShareOf } from '../../shared/plan/privacy-share.ts';
import { closeWorlds } from '../coordinator/harness.ts';
import { binaryCounts } from '../helpers/evaluation-counts.ts';
import { losingCalls } from './memory-federation.ts';
import { federatePhases, phasedDocument, startOf } from './phased-federation.ts';

const dims = [600, 2000];
/** Clients that send their number over a hundred in every coordinate. */
const plain = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    deltaOf: ({ phase }: { readonly phase: number }) => new Float32Array(dims[phase]!).fill((index + 1) / 100),
  }));
const near = (found: number, expected: number, within = 1e-4): void =>
  assert.ok(Math.abs(found - expected) < within, `${found}, expected ${expected}`);

describe('phases with guards', () => {
  afterEach(closeWorlds);

  for (const mechanism of ['central', 'distributed'] as const)
    it(`[PHG-1/${mechanism}] one budget over all phases: every number is charged, each phase has its noise at its own norm`, async () => {
      const privacy = { unit: 'client', mechanism, clipNorm: 1, epsilon: 40 };
      const document = phasedDocument([{}, { privacy: { clipNorm: 0.5 } }], {
        privacy,
        aggregation: { weighting: 'equal' },
        secureAggregation: { mode: mechanism === 'central' ? 'off' : 'on' },
      });
      const { end, library, adapters } = await federatePhases(document, { dims, clients: plain(4) });
      assert.equal(end.status, 'completed', end.detail);
      const share = numberShareOf(document)!;
      // Rounds 0 and 1, number 2 begins the second phase, rounds 3 and 4.
      const numbers = [0, 1, 2, 3, 4, 5];
      for (const [version, { record }] of library.entries()) {
        if (version === 0) continue;
        const { unit, epsilon, budget } = readStatement(record.privacy);
        assert.deepEqual([unit, budget], ['client', 40], record.privacy);
        // Four digits, rounded up.
        const exact = share.epsilonAfter(numbers[version]!);
        assert.ok(epsilon! >= exact && epsilon! < exact * 1.001, `${epsilon}, expected ${exact}`);
      }
      assert.ok(share.epsilonAfter(5) <= 40 && share.epsilonAfter(5) > 39.9, 'the budget is used up by all numbers');
      // What is published is noise of the norm of its phase around the clipped mean.
      for (const [version, clipNorm] of [
        [1, 1],
        [4, 0.5],
      ] as const) {
        const step = adapters[version]!.map((value, place) => value - adapters[version - 1]![place]!);
        const dim = step.length;
        // All of them are longer than the norm, and all point the same way.
        const mean = clipNorm / Math.sqrt(dim);
        const noise = 4 * Math.sqrt(step.reduce((sum, value) => sum + (value - mean) ** 2, 0) / dim);
        const least = share.gaussian * clipNorm;
        // Where all four arrive, all bring the noise that is sized for the honest ones of the fewest.
        assert.ok(noise > least * 0.9 && noise < least * 2.1, `noise ${noise}, sized for ${least}`);
      }
    });

  it('[PHG-2] the budget ends in a later phase: the federation stops before the round, and goes on in no other phase', async () => {
    const privacy = { unit: 'client', mechanism: 'central', clipNorm: 1, noiseMultiplier: 2, epsilon: 8 };
    const changes = { privacy, aggregation: { weighting: 'equal' } };
    const open = phasedDocument([{}, {}], changes);
    const epsilon = numberShareOf(open)!.epsilonAfter(4) * 1.001;
    const document = phasedDocument([{}, {}], { ...changes, privacy: { ...privacy, epsilon } });
    const { end, library } = await federatePhases(document, { dims, clients: plain(4) });
    assert.equal(end.status, 'stopped');
    assert.match(end.detail, /privacy budget is spent: it pays 4 round/);
    assert.deepEqual(
      library.map(({ row }) => row.roundIndex),
      [-1, 0, 1, -1, 3],
    );
  });

  for (const kind of ['SHARES', 'MASKED', 'UNMASK'] as const)
    it(`[PHG-3/${kind}] masked phases: a client that vanishes before ${kind} in the second phase costs its share alone`, async () => {
      const document = phasedDocument([{}, {}], {
        secureAggregation: { mode: 'on' },
        aggregation: { weighting: 'equal' },
      });
      let phase = 0;
      const [first, second, third, fourth] = plain(4);
      const vanishing = {
        deltaOf: (round: { readonly phase: number; readonly roundIndex: number }) => {
          phase = round.phase;
          return fourth!.deltaOf(round);
        },
        worldOf: (world: Parameters<typeof losingCalls>[0], vanish: () => void) =>
          losingCalls(world, (call) => {
            if (phase === 0 || call.kind !== kind) return false;
            vanish();
            return true;
          }),
      };
      const clients = [first!, second!, third!, vanishing];
      const { end, library, adapters } = await federatePhases(document, { dims, clients });
      assert.equal(end.status, 'completed', end.detail);
      const values = adapters.map((adapter) => adapter[0]!);
      // The mean of four is 0.025, of the first three 0.02; whoever is gone before it unmasks is in the sum already.
      const once = kind === 'UNMASK' ? 0.025 : 0.02;
      for (const [version, expected] of [
        0,
        0.025,
        0.05,
        startOf(1),
        startOf(1) + once,
        startOf(1) + once + 0.02,
      ].entries())
        near(values[version]!, expected);
      for (const { record } of library.slice(1))
        assert.match(record.privacy, /the coordinator saw the sum of the updates alone/);
      assert.deepEqual(
        library.map(({ record }) => record.contributors.length),
        [0, 4, 4, 0, kind === 'UNMASK' ? 4 : 3, 3],
      );
    });

  it('[PHG-4] a robust rule in one phase alone: there the median holds, before it the mean follows the hostile one', async () => {
    const document = phasedDocument([{}, { aggregation: { robust: 'median', weighting: 'equal', hostileMax: 1 } }]);
    const [hostile, ...honest] = plain(4);
    const clients = [{ deltaOf: (round: { readonly phase: number }) => hostile!.deltaOf(round).fill(1e3) }, ...honest];
    const { end, adapters } = await federatePhases(document, { dims, clients });
    assert.equal(end.status, 'completed', end.detail);
    assert.ok(adapters[1]![0]! > 100);
    near(adapters[4]![0]!, startOf(1) + 0.035);
  });

  it('[PHG-5] robust over masked groups in a later phase; a phase that cannot have its rule is named with the nearest that works', async function () {
    // Fifteen clients of masked groups, twice: a few seconds of keys and signatures, and many more where cores are shared.
    this.timeout(60_000);
    const masked = { secureAggregation: { mode: 'on', groupSize: 5 }, aggregation: { weighting: 'equal' } };
    const rounds = { count: 1, cohortSize: 15, quorum: 15 };
    const robust = { robust: 'median', weighting: 'equal', hostileMax: 1 };
    const document = phasedDocument([{}, { aggregation: robust }], masked, rounds);
    const [hostile, ...honest] = plain(15);
    const clients = [
      { deltaOf: (round: { readonly phase: number }) => hostile!.deltaOf(round).fill(round.phase === 0 ? 0 : 0.9) },
      ...honest,
    ];
    const { end, adapters } = await federatePhases(document, { dims, clients });
    assert.equal(end.status, 'completed', end.detail);
    // Means of five honest clients lie between 0.04 and 0.13, that with the hostile one above 0.2; the mean of all is above 0.139.
    const step = adapters.at(-1)![0]! - startOf(1);
    assert.ok(step > 0.039 && step < 0.131, String(step));
    const alone = { secureAggregation: { mode: 'on' }, aggregation: { weighting: 'equal' } };
    assert.throws(
      () => phasedDocument([{}, { aggregation: robust }], alone),
      /phase phase-1: aggregation\.robust must be none, found median: .* clients are more than the \d+ of rounds\.quorum/,
    );
  });

  it('[PHG-6] a gate judges a candidate by versions of its own phase, each phase by its own floor', async () => {
    const gate = (least: number) => ({ by: 'clients', least, drop: 0.1, failuresMax: 2 });
    const document = phasedDocument([{ canary: gate(0.8) }, { canary: gate(0.2) }], {
      secureAggregation: { mode: 'on' },
    });
    // Nine of ten in the first phase, three of ten in the second: far below what the first reached, above its own floor.
    const countsOf = (value: number) => binaryCounts(value < 5 ? 9 : 3, 10);
    const passed = await federatePhases(document, { dims, clients: plain(4), countsOf });
    assert.equal(passed.end.status, 'completed', passed.end.detail);
    assert.ok(!passed.events.some(({ type }) => type === 'candidate-refused'));
    const strict = phasedDocument([{ canary: gate(0.8) }, { canary: gate(0.5) }], {
      secureAggregation: { mode: 'on' },
    });
    const refused = await federatePhases(strict, { dims, clients: plain(4), countsOf });
    assert.equal(refused.end.status, 'stopped');
    assert.equal(refused.events.filter(({ type }) => type === 'candidate-refused').length, 2);
    assert.equal(refused.library.length, 4, 'nothing of the second phase was published');
  });

  it('[PHG-7] who is set aside in one phase stays aside in the next', async () => {
    const quarantine = { marks: 2, rounds: 9, lengthFactor: 10 };
    const document = phasedDocument([{}, {}], { quarantine });
    const [hostile, ...honest] = plain(4);
    const clients = [{ deltaOf: (round: { readonly phase: number }) => hostile!.deltaOf(round).fill(1e3) }, ...honest];
    const { end, library, events } = await federatePhases(document, { dims, clients });
    assert.equal(end.status, 'completed', end.detail);
    assert.equal(events.filter(({ type }) => type === 'client-quarantined').length, 1);
    assert.deepEqual(
      library.map(({ record }) => record.cohort.length),
      [0, 4, 4, 0, 3, 3],
    );
  });
});
