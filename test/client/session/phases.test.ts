/** A coordinator that bends the phases of an approved document, against the machine of a client and what it reads plans with. */
import { strict as assert } from 'node:assert';
import type { PreparedFacts, SessionMemory } from '../../../client/session/checks.ts';
import { receive } from '../../../client/session/machine.ts';
import type { SessionEffect, SessionState } from '../../../client/session/state.ts';
import { parseDigest, parseFederationId, parseSessionId } from '../../../shared/core/ids.ts';
import { type PhasePlace, planOfPhase } from '../../../shared/plan/phases.ts';
import { documentHashOf, parsePlan, planBytes, planHashOf } from '../../../shared/plan/plan.ts';
import { judgePlan, parsePolicy } from '../../../shared/plan/policy.ts';
import type { Offer } from '../../../shared/protocol/messages.ts';
import { unmaskedRound } from '../../../shared/protocol/round-params.ts';
import { minimalPlan } from '../../shared/plan/minimal-plan.ts';

const digest = (digit: string) => parseDigest(digit.repeat(64));
const federationId = parseFederationId('f'.repeat(64));
/** Two phases of three rounds each: 0 to 2, the number 3, 4 to 6. */
const document = parsePlan(
  {
    ...minimalPlan(),
    phases: [
      { name: 'one', adapter: { method: 'bottleneck', size: 4 } },
      { name: 'two', start: 'one' },
    ],
  },
  'the test',
);
const [learned, begun, other] = [digest('1'), digest('2'), digest('3')];
const place: PhasePlace = { index: 1, firstRound: 4, results: [{ phase: 'one', content: learned }] };

/** What a client does that is offered a round of the second phase and fetched what it names. */
function answerTo(
  {
    roundIndex = 4,
    modelHash = begun,
    phase = place,
  }: { roundIndex?: number; modelHash?: typeof begun; phase?: PhasePlace },
  lastResult: SessionMemory['lastResult'],
): SessionEffect | undefined {
  const planHash = planHashOf(planOfPhase(document, place));
  const same = { planHash, baseDigest: digest('b'), layoutHash: digest('c'), dim: 8, modelHash };
  const blob = { digest: digest('a'), size: 32, root: digest('b') };
  const offer: Offer = {
    roundHash: digest('9'),
    roundParams: unmaskedRound({
      ...same,
      federationId,
      sessionId: parseSessionId('5'.repeat(32)),
      roundIndex,
      attempt: 0,
      weightMax: 1000,
      clientCountMin: 2,
      clientCountMax: 3,
      recruitMs: 1000,
      trainMs: 1000,
    }),
    plan: blob,
    base: [],
    adapter: blob,
  };
  const idle: SessionState = { phase: { name: 'idle' }, memory: { federationId, lastRoundIndex: 2, lastResult } };
  const offered = receive(idle, { type: 'offer', offer });
  if (offered.effects[0]?.type !== 'prepare') return offered.effects[0];
  const facts: PreparedFacts = { ...same, terms: null, phase };
  return receive(offered.state, { type: 'prepared', roundHash: offer.roundHash, facts }).effects[0];
}
const declined = (effect: SessionEffect | undefined): string =>
  effect?.type === 'decline' ? effect.refusal.code : String(effect?.type);

describe('phases against a hostile coordinator', () => {
  const heard = { roundIndex: 2, modelHash: learned };

  it('[PHH-1] trains in a phase that begins on the result that it heard, and where it heard none', () => {
    assert.equal(answerTo({}, heard)?.type, 'train');
    assert.equal(answerTo({}, null)?.type, 'train');
    // After a rollback other numbers lie in between: nothing to compare.
    assert.equal(answerTo({ roundIndex: 9, phase: { ...place, firstRound: 9 } }, heard)?.type, 'train');
  });

  it('[PHH-2] declines a phase that builds on another result than the phase before ended in', () => {
    const phase = { ...place, results: [{ phase: 'one', content: other }] };
    assert.equal(declined(answerTo({ phase }, heard)), 'model-discontinuity');
  });

  it('[PHH-3] declines a round before its phase begins', () => {
    assert.equal(declined(answerTo({ roundIndex: 3 }, null)), 'plan-mismatch');
  });

  it("[PHH-4] declines the first phase's adapter, replayed inside the second", () => {
    const inside = { roundIndex: 4, modelHash: other };
    assert.equal(declined(answerTo({ roundIndex: 5, modelHash: learned }, inside)), 'model-discontinuity');
    assert.equal(answerTo({ roundIndex: 5, modelHash: other }, inside)?.type, 'train');
  });

  it('[PHH-5] a plan of a phase out of order, too early, or on results of other phases cannot be read', () => {
    const written = JSON.parse(new TextDecoder().decode(planBytes(planOfPhase(document, place))));
    const refused = (changes: object, pattern: RegExp) =>
      assert.throws(() => parsePlan({ ...written, phase: { ...written.phase, ...changes } }, 'the test'), pattern);
    assert.equal(planHashOf(parsePlan(written, 'the test')), planHashOf(planOfPhase(document, place)));
    refused({ firstRound: 3 }, /phase 1 begins with round 4 at the earliest, found 3/);
    refused({ results: [] }, /builds on the results of one/);
    refused({ results: [{ phase: 'two', content: learned }] }, /builds on the results of one, found two/);
    refused({ index: 0, results: [] }, /first phase begins with round 0, found 4/);
    refused({ index: 2 }, /phase 2 builds on/);
  });

  it('[PHH-6] a document that changes after it was approved is refused in whatever phase, though each phase is as allowed', () => {
    const policy = parsePolicy({ approvedPlans: [documentHashOf(document)], quorumMin: 1, cohortMin: 1 }, 'the test');
    const changed = parsePlan(
      { ...minimalPlan(), phases: [...document.phases!, { name: 'three', start: 'one' }] },
      'the test',
    );
    assert.ok(judgePlan(policy, planOfPhase(document, place)).ok);
    for (const plan of [planOfPhase(changed, place), planOfPhase(changed, { index: 0, firstRound: 0, results: [] })]) {
      const verdict = judgePlan(policy, plan);
      assert.equal(verdict.ok ? null : verdict.error.code, 'plan-not-approved');
    }
  });
});
