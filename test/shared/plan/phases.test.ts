import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import { planOfPhase, plansAhead, roundCountOf, sourcesOf } from '../../../shared/plan/phases.ts';
import { documentHashOf, parsePlan, planBytes, planHashOf } from '../../../shared/plan/plan.ts';
import { minimalPlan } from './minimal-plan.ts';

const content = (byte: string) => byte.repeat(32) as Digest;

/** Two adapters and their fusion. */
function phased(changes: object = {}): Record<string, unknown> {
  const members = [
    { id: 'a', phase: 'one' },
    { id: 'b', phase: 'two', frozen: false },
  ];
  return {
    ...minimalPlan(),
    training: { localSteps: 3 },
    phases: [
      { name: 'one', adapter: { method: 'bottleneck', size: 4 } },
      { name: 'two', adapter: { method: 'bottleneck', size: 2 }, training: { localEpochs: 2 } },
      {
        name: 'both',
        adapter: { method: 'stack', members: [{ id: 'whole', method: 'fuse', members }] },
        rounds: { count: 5, quorum: 2 },
      },
    ],
    ...changes,
  };
}
const refused = (changes: object, pattern: RegExp): void =>
  assert.throws(() => parsePlan(phased(changes), 'the test'), pattern);
const withPhases = (...phases: readonly object[]) => ({ phases });

describe('plans of phases, as documents', () => {
  it('[PHS-1] phases have the sections of the document that they leave out, and all defaults', () => {
    const plan = parsePlan(phased(), 'the test');
    assert.deepEqual(
      plan.phases!.map(({ training }) => [training.localSteps, training.localEpochs]),
      [
        [3, undefined],
        [undefined, 2],
        [3, undefined],
      ],
    );
    assert.deepEqual(
      plan.phases!.map(({ rounds }) => rounds.count),
      [3, 3, 5],
    );
    assert.equal(roundCountOf(plan), 11);
    assert.equal(roundCountOf(parsePlan(minimalPlan(), 'the test')), 3);
  });

  it('[PHS-2] members are the adapters of their phases, bound to what those published', () => {
    const plan = parsePlan(phased(), 'the test');
    const results = [
      { phase: 'one', content: content('0a') },
      { phase: 'two', content: content('0b') },
    ];
    const last = planOfPhase(plan, { index: 2, firstRound: 8, results });
    assert.deepEqual(last.adapter, {
      method: 'stack',
      members: [
        {
          id: 'whole',
          method: 'fuse',
          members: [
            { id: 'a', method: 'bottleneck', size: 4, version: content('0a') },
            { id: 'b', method: 'bottleneck', size: 2, frozen: false, version: content('0b') },
          ],
        },
      ],
    });
    assert.deepEqual(sourcesOf(plan, 2), [
      { prefix: 'whole.a.', phase: 'one' },
      { prefix: 'whole.b.', phase: 'two' },
    ]);
    assert.ok(!JSON.stringify(plansAhead(plan)[2]!.adapter).includes('version'));
    assert.throws(
      () => planOfPhase(plan, { index: 2, firstRound: 8, results: results.slice(1) }),
      /builds on the results of one, two/,
    );
  });

  it('[PHS-3] a document and the plans of its phases read back to the same bytes; approving one approves all', () => {
    const plan = parsePlan(phased(), 'the test');
    const read = (bytes: Uint8Array) => parsePlan(JSON.parse(new TextDecoder().decode(bytes)), 'the test');
    assert.equal(planHashOf(read(planBytes(plan))), planHashOf(plan));
    const hashes = new Set<string>();
    for (const index of [0, 1, 2]) {
      const results = ['one', 'two'].slice(0, index).map((phase) => ({ phase, content: content('0c') }));
      const own = planOfPhase(plan, { index, firstRound: 8 * index, results });
      assert.equal(planHashOf(read(planBytes(own))), planHashOf(own));
      assert.equal(documentHashOf(read(planBytes(own))), planHashOf(plan));
      hashes.add(planHashOf(own));
    }
    assert.equal(hashes.size, 3);
    assert.equal(documentHashOf(parsePlan(minimalPlan(), 'x')), planHashOf(parsePlan(minimalPlan(), 'x')));
  });

  it('[PHS-4] the plan of a phase whose sections do not follow from its phases is refused', () => {
    const plan = parsePlan(phased(), 'the test');
    const own = planOfPhase(plan, { index: 1, firstRound: 4, results: [{ phase: 'one', content: content('0c') }] });
    const value = JSON.parse(new TextDecoder().decode(planBytes(own)));
    for (const changed of [
      { ...value, rounds: { ...value.rounds, count: 2000 } },
      { ...value, adapter: { method: 'full' } },
      { ...value, phase: { ...value.phase, results: [] } },
    ])
      assert.throws(() => parsePlan(changed, 'the test'), /phase 1|sections of phase/);
  });

  it('[PHS-5] faults name the phase and the field', () => {
    refused({ phases: [] }, /phases must be a list of 1 to 64 phases/);
    refused(withPhases({ name: 'one', tasks: 2 }), /phases\[0\].tasks is not a known field; did you mean task\?/);
    refused(withPhases({ name: 'one' }, { name: 'one' }), /phases\[1\]\.name must differ from all before it/);
    refused(
      withPhases({ name: 'one', rounds: { count: 0, quorum: 1 } }),
      /phase one: rounds\.count must be a whole number/,
    );
    refused(withPhases({ name: 'one', start: 'two' }), /phases\[0\]\.start must be left out in the first phase/);
    refused(
      withPhases({ name: 'one' }, { name: 'two', start: 'ome' }),
      /phases\[1\]\.start must be a phase before it: one \(did you mean one\?\)/,
    );
    const fusing = (member: object) =>
      withPhases({ name: 'one' }, { name: 'two', adapter: { method: 'fuse', members: [{ id: 'a', ...member }] } });
    refused(fusing({ phase: 'three' }), /phases\[1\]\.adapter\.members\[0\]\.phase must be a phase before it: one/);
    refused(
      fusing({ phase: 'one', method: 'lora' }),
      /members\[0\]\.method must be left out: the member is the adapter of its phase/,
    );
    refused(
      fusing({ method: 'lora', content: content('0a') }),
      /phases\[1\]\.adapter\.members\[0\]\.content must be left out in a plan of phases/,
    );
    refused(
      { privacy: { unit: 'record', noiseMultiplier: 1 }, aggregation: { weighting: 'equal' } },
      /privacy\.noiseMultiplier must be left out in a plan of phases with unit record/,
    );
    refused(
      { ...withPhases({ name: 'one' }, { name: 'two', privacy: { epsilon: 2 } }), privacy: { unit: 'none' } },
      /phases\[1\]\.privacy\.epsilon must be left out: the budget is one for all phases/,
    );
    refused(
      withPhases(
        { name: 'one', adapter: { method: 'lora', rank: 2 }, aggregation: { lowRank: 'stack', publishedRank: 8 } },
        { name: 'two', start: 'one' },
      ),
      /phases\[0\]\.aggregation\.publishedRank must be left out: phase 1 builds on what it trains/,
    );
  });
});
