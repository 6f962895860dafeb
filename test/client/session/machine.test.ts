import { strict as assert } from 'node:assert';
import { backoffMs } from '../../../client/session/backoff.ts';
import type { OfferFacts, PreparedFacts, SessionMemory } from '../../../client/session/checks.ts';
import { checkOffer, checkPrepared } from '../../../client/session/checks.ts';
import type { SessionEvent, SessionPhase, SessionState, SessionStep } from '../../../client/session/machine.ts';
import { legalEvents, receive, startSession } from '../../../client/session/machine.ts';
import { parseClientId, parseDigest, parseFederationId } from '../../../shared/core/ids.ts';

const digest = (digit: string) => parseDigest(digit.repeat(64));
const memory: SessionMemory = {
  clientId: parseClientId('c'.repeat(64)),
  federationId: parseFederationId('f'.repeat(64)),
  lastRoundIndex: -1,
  lastResult: null,
};
const offer: OfferFacts = {
  roundHash: digest('1'),
  signatureValid: true,
  federationId: memory.federationId,
  suite: 0,
  roundIndex: 0,
  dim: 8,
  planHash: digest('2'),
  baseDigest: digest('3'),
  layoutHash: digest('4'),
  modelHash: digest('5'),
};
const facts: PreparedFacts = {
  planHash: offer.planHash,
  baseDigest: offer.baseDigest,
  layoutHash: offer.layoutHash,
  dim: 8,
  modelHash: offer.modelHash,
};
const roundHash = offer.roundHash;
const result = { roundHash, signatureValid: true, newModelHash: digest('6') };

const phases: Record<SessionPhase['name'], SessionPhase> = {
  enrolling: { name: 'enrolling' },
  disconnected: { name: 'disconnected', attempt: 1 },
  connecting: { name: 'connecting', attempt: 1 },
  idle: { name: 'idle' },
  fetching: { name: 'fetching', offer, attempt: 0 },
  training: { name: 'training', offer, attempt: 0 },
  uploading: { name: 'uploading', offer, attempt: 0 },
  evaluating: { name: 'evaluating', roundHash, attempt: 0 },
  finished: { name: 'finished', reason: { kind: 'stopped', detail: '' } },
};
const events: Record<SessionEvent['type'], SessionEvent> = {
  enrolled: { type: 'enrolled' },
  'enrolment-refused': { type: 'enrolment-refused', detail: 'token used' },
  connected: { type: 'connected' },
  'connection-lost': { type: 'connection-lost', detail: 'gone' },
  'reconnect-due': { type: 'reconnect-due' },
  'admission-refused': { type: 'admission-refused', detail: 'unknown client' },
  offer: { type: 'offer', offer: { ...offer, roundHash: digest('7'), roundIndex: 1 } },
  'plan-refused': { type: 'plan-refused', roundHash, reason: 'too many epochs' },
  prepared: { type: 'prepared', roundHash, facts },
  'work-failed': { type: 'work-failed', roundHash, detail: 'out of memory' },
  trained: { type: 'trained', roundHash },
  uploaded: { type: 'uploaded', roundHash },
  'upload-refused': { type: 'upload-refused', roundHash, detail: 'late' },
  evaluate: { type: 'evaluate', roundHash, signatureValid: true, known: true },
  evaluated: { type: 'evaluated', roundHash },
  result: { type: 'result', result },
  'federation-finished': { type: 'federation-finished', detail: 'completed' },
  stop: { type: 'stop' },
};
/** Phase after each legal pair; a pair that is missing here must be refused. */
const expected: Record<SessionPhase['name'], Partial<Record<SessionEvent['type'], SessionPhase['name']>>> = {
  enrolling: { enrolled: 'connecting', 'enrolment-refused': 'finished', stop: 'finished' },
  disconnected: { 'reconnect-due': 'connecting', stop: 'finished' },
  connecting: {
    connected: 'idle',
    'connection-lost': 'disconnected',
    'admission-refused': 'finished',
    stop: 'finished',
  },
  idle: {
    'connection-lost': 'disconnected',
    offer: 'fetching',
    evaluate: 'evaluating',
    result: 'idle',
    'federation-finished': 'finished',
    stop: 'finished',
  },
  fetching: { ...working('fetching'), 'plan-refused': 'idle', prepared: 'training', result: 'idle' },
  training: { ...working('training'), trained: 'uploading', result: 'idle' },
  uploading: {
    ...working('uploading'),
    uploaded: 'idle',
    'upload-refused': 'idle',
    evaluate: 'evaluating',
    result: 'idle',
  },
  evaluating: { ...working('evaluating'), evaluated: 'idle', result: 'evaluating' },
  finished: {},
};
function working(name: SessionPhase['name']): Partial<Record<SessionEvent['type'], SessionPhase['name']>> {
  return {
    connected: name,
    'connection-lost': name,
    'reconnect-due': name,
    'admission-refused': 'finished',
    offer: 'fetching',
    'work-failed': 'idle',
    'federation-finished': 'finished',
    stop: 'finished',
  };
}
const stateIn = (phase: SessionPhase): SessionState => ({ phase, memory, contributed: null });
const effectTypes = (step: SessionStep): string[] => step.effects.map((effect) => effect.type);

describe('session machine', () => {
  for (const phase of Object.values(phases)) {
    for (const event of Object.values(events)) {
      const next = expected[phase.name][event.type];
      it(`[CLI-1] ${phase.name} x ${event.type} -> ${next ?? 'refused'}`, () => {
        const step = receive(stateIn(phase), event);
        assert.equal(legalEvents[phase.name].includes(event.type), next !== undefined);
        assert.equal(step.state.phase.name, next ?? phase.name);
        if (next !== undefined) return;
        // An answer to work that nobody waits for is dropped; everything else illegal is named.
        const isAnswer =
          'roundHash' in event && event.type !== 'evaluate' && !('offer' in phase || phase.name === 'evaluating');
        assert.deepEqual(effectTypes(step), isAnswer ? [] : ['report']);
        assert.deepEqual(step.state, stateIn(phase));
      });
    }
  }

  it('[CLI-2] goes through a whole round in order', () => {
    let step = startSession(memory, false);
    const seen: string[] = [];
    const path: SessionEvent[] = [
      { type: 'enrolled' },
      { type: 'connected' },
      { type: 'offer', offer },
      { type: 'prepared', roundHash, facts },
      { type: 'trained', roundHash },
      { type: 'uploaded', roundHash },
      { type: 'evaluate', roundHash, signatureValid: true, known: true },
      { type: 'evaluated', roundHash },
      { type: 'result', result },
      { type: 'federation-finished', detail: 'completed' },
    ];
    seen.push(...effectTypes(step));
    for (const event of path) {
      step = receive(step.state, event);
      seen.push(...effectTypes(step));
    }
    assert.deepEqual(seen, [
      'enrol',
      'connect',
      'prepare',
      'train',
      'contribute',
      'evaluate',
      'accept-result',
      'close',
    ]);
    assert.equal(step.state.memory.lastRoundIndex, 0);
    assert.deepEqual(step.state.memory.lastResult, { roundIndex: 0, modelHash: result.newModelHash });
  });

  it('[CLI-3] never contributes twice to one round number, under whatever round hash', () => {
    const contributed = receive(stateIn(phases.training), { type: 'trained', roundHash }).state;
    const again = { ...offer, roundHash: digest('9') };
    const step = receive({ ...contributed, phase: phases.idle }, { type: 'offer', offer: again });
    assert.deepEqual(effectTypes(step), ['decline']);
    assert.equal(step.state.phase.name, 'idle');
  });

  it('[CLI-4] goes on with its work when the same offer is repeated after a reconnection', () => {
    const step = receive(stateIn(phases.training), { type: 'offer', offer });
    assert.deepEqual(step, { state: stateIn(phases.training), effects: [] });
  });

  it('[CLI-5] counts attempts while it works without a connection', () => {
    let state = stateIn(phases.training);
    for (let attempt = 1; attempt <= 3; attempt++) {
      const step = receive(state, { type: 'connection-lost', detail: 'gone' });
      assert.deepEqual(step.effects, [{ type: 'schedule-reconnect', attempt }]);
      state = step.state;
    }
    assert.deepEqual(receive(state, { type: 'connected' }).state.phase, phases.training);
  });

  it('[CLI-6] refuses to evaluate without a valid signature or for an unknown round', () => {
    for (const wrong of [
      { signatureValid: false, known: true },
      { signatureValid: true, known: false },
    ]) {
      const step = receive(stateIn(phases.idle), { type: 'evaluate', roundHash, ...wrong });
      assert.deepEqual(effectTypes(step), ['report']);
      assert.equal(step.state.phase.name, 'idle');
    }
  });

  it('[CLI-7] believes no unsigned result', () => {
    const state = { ...stateIn(phases.idle), contributed: { roundHash, roundIndex: 0 } };
    const step = receive(state, { type: 'result', result: { ...result, signatureValid: false } });
    assert.deepEqual(effectTypes(step), ['report']);
    assert.equal(step.state.memory.lastResult, null);
  });
});

describe('session checks', () => {
  it('[CLI-8] name the first thing that is wrong with an offer', () => {
    const contributed = { ...memory, lastRoundIndex: 3, lastResult: { roundIndex: 3, modelHash: digest('8') } };
    assert.equal(checkOffer(offer, memory), null);
    assert.equal(checkOffer({ ...offer, signatureValid: false }, memory)?.code, 'bad-signature');
    assert.equal(
      checkOffer({ ...offer, federationId: parseFederationId('e'.repeat(64)) }, memory)?.code,
      'wrong-federation',
    );
    assert.equal(checkOffer({ ...offer, suite: 1 }, memory)?.code, 'unsupported-suite');
    assert.equal(checkOffer({ ...offer, roundIndex: 3 }, contributed)?.code, 'stale-round');
    assert.equal(checkOffer({ ...offer, roundIndex: 4 }, contributed)?.code, 'model-discontinuity');
    assert.equal(checkOffer({ ...offer, roundIndex: 4, modelHash: digest('8') }, contributed), null);
  });

  it('[CLI-9] compare every hash of the round with the fetched bytes', () => {
    assert.equal(checkPrepared(offer, facts), null);
    assert.equal(checkPrepared(offer, { ...facts, planHash: digest('0') })?.code, 'plan-mismatch');
    assert.equal(checkPrepared(offer, { ...facts, baseDigest: digest('0') })?.code, 'base-mismatch');
    assert.equal(checkPrepared(offer, { ...facts, layoutHash: digest('0') })?.code, 'layout-mismatch');
    assert.equal(checkPrepared(offer, { ...facts, dim: 9 })?.code, 'layout-mismatch');
    assert.equal(checkPrepared(offer, { ...facts, modelHash: digest('0') })?.code, 'model-mismatch');
  });

  it('[CLI-10] back-off grows, is bounded and never zero', () => {
    assert.equal(backoffMs(1, 0), 50);
    assert.equal(backoffMs(3, 0.999999), 2000);
    assert.equal(backoffMs(60, 0.999999), 30_000);
  });
});
