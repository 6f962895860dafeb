import { strict as assert } from 'node:assert';
import { backoffMs, jitter } from '../../../client/session/backoff.ts';
import type { PreparedFacts, SessionMemory } from '../../../client/session/checks.ts';
import { checkOffer, checkPrepared } from '../../../client/session/checks.ts';
import { receive, startSession } from '../../../client/session/machine.ts';
import type {
  EventName,
  LinkState,
  PhaseName,
  SessionEvent,
  SessionPhase,
  SessionState,
  SessionStep,
} from '../../../client/session/state.ts';
import { legalEvents } from '../../../client/session/state.ts';
import { parseDigest, parseFederationId, parseSessionId } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { Offer, RoundResult } from '../../../shared/protocol/messages.ts';
import { unmaskedRound } from '../../../shared/protocol/round-params.ts';
import { violation } from '../../../shared/protocol/violations.ts';
import type { VoidRecord } from '../../../shared/protocol/void-record.ts';

const digest = (digit: string) => parseDigest(digit.repeat(64));
const memory: SessionMemory = { federationId: parseFederationId('f'.repeat(64)), lastRoundIndex: -1, lastResult: null };
const blob = { digest: digest('a'), size: 32, root: digest('b') };
const roundHash = digest('1');
const offer: Offer = {
  roundHash,
  roundParams: unmaskedRound({
    federationId: memory.federationId,
    sessionId: parseSessionId('5'.repeat(32)),
    roundIndex: 0,
    attempt: 0,
    modelHash: digest('5'),
    layoutHash: digest('4'),
    planHash: digest('2'),
    baseDigest: digest('3'),
    dim: 8,
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
/** The offer of another round. */
const offerOf = (digit: string, changes: Partial<Offer['roundParams']>): Offer => ({
  ...offer,
  roundHash: digest(digit),
  roundParams: { ...offer.roundParams, ...changes },
});
const facts: PreparedFacts = {
  planHash: digest('2'),
  baseDigest: digest('3'),
  layoutHash: digest('4'),
  dim: 8,
  modelHash: digest('5'),
  terms: null,
};
const stage = { roundHash, event: { type: 'roster', roster: { entries: [] } } } as const;
const request = { roundHash, modelHash: digest('6'), adapter: blob };
const result: RoundResult = {
  roundHash,
  roundIndex: 0,
  resultHash: digest('c'),
  newModelHash: digest('6'),
  contributorCount: 2,
  totalWeight: 20,
  transcriptHash: digest('d'),
};

const record: VoidRecord = {
  federationId: memory.federationId,
  roundHash,
  roundIndex: 0,
  nextRoundIndex: 1,
  modelHash: digest('5'),
  reason: '2 of 4 clients took part, the quorum is 3',
  createdAtMs: 1,
};
const frame = new Uint8Array(1);

const up: LinkState = { name: 'up' };
const phases: Record<PhaseName, SessionPhase> = {
  enrolling: { name: 'enrolling' },
  disconnected: { name: 'disconnected', attempt: 1 },
  connecting: { name: 'connecting', attempt: 1 },
  idle: { name: 'idle' },
  fetching: { name: 'fetching', offer, link: up },
  training: { name: 'training', offer, link: up },
  uploading: { name: 'uploading', offer, link: up },
  masking: { name: 'masking', offer, link: up },
  evaluating: { name: 'evaluating', request, link: up },
  finished: { name: 'finished', reason: { kind: 'stopped', detail: '' } },
};
const refused = violation('late-update', 'the round is over');
const events: Record<EventName, SessionEvent> = {
  enrolled: { type: 'enrolled' },
  'enrolment-refused': { type: 'enrolment-refused', detail: 'token used' },
  connected: { type: 'connected' },
  'connection-lost': { type: 'connection-lost', detail: 'gone' },
  'reconnect-due': { type: 'reconnect-due' },
  'admission-refused': { type: 'admission-refused', detail: 'unknown client' },
  offer: { type: 'offer', offer: offerOf('7', { roundIndex: 1 }) },
  'plan-refused': { type: 'plan-refused', roundHash, reason: 'too many epochs' },
  prepared: { type: 'prepared', roundHash, facts },
  'work-failed': { type: 'work-failed', roundHash, detail: 'out of memory' },
  trained: { type: 'trained', roundHash },
  uploaded: { type: 'uploaded', roundHash },
  contributed: { type: 'contributed', roundHash },
  stage: { type: 'stage', stage },
  'round-refused': { type: 'round-refused', roundHash, refused },
  evaluate: { type: 'evaluate', request, known: true },
  evaluated: { type: 'evaluated', roundHash },
  result: { type: 'result', result },
  void: { type: 'void', record, frame },
  'federation-finished': { type: 'federation-finished', status: 'completed', detail: 'all rounds' },
  stop: { type: 'stop' },
};
/** Phase after each legal pair; a pair that is missing here must be refused. */
const expected: Record<PhaseName, Partial<Record<EventName, PhaseName>>> = {
  enrolling: { enrolled: 'connecting', 'enrolment-refused': 'finished', stop: 'finished' },
  disconnected: { 'reconnect-due': 'connecting', stop: 'finished' },
  connecting: {
    connected: 'idle',
    'connection-lost': 'disconnected',
    'admission-refused': 'finished',
    stop: 'finished',
  },
  idle: {
    stage: 'idle',
    'connection-lost': 'disconnected',
    offer: 'fetching',
    evaluate: 'evaluating',
    result: 'idle',
    void: 'idle',
    'federation-finished': 'finished',
    stop: 'finished',
  },
  fetching: { ...working('fetching'), 'plan-refused': 'idle', prepared: 'training', result: 'idle' },
  training: { ...working('training'), trained: 'uploading', 'round-refused': 'idle', result: 'idle' },
  uploading: { ...working('uploading'), uploaded: 'idle', 'round-refused': 'idle', evaluate: 'evaluating' },
  masking: {
    ...working('masking'),
    contributed: 'masking',
    uploaded: 'idle',
    'round-refused': 'idle',
    evaluate: 'evaluating',
    result: 'idle',
  },
  evaluating: { ...working('evaluating'), evaluated: 'idle', 'round-refused': 'idle' },
  finished: { 'connection-lost': 'finished' },
};
function working(name: PhaseName): Partial<Record<EventName, PhaseName>> {
  return {
    connected: name,
    'connection-lost': name,
    'reconnect-due': name,
    stage: name,
    'admission-refused': 'finished',
    offer: 'fetching',
    'work-failed': 'idle',
    result: name,
    void: 'idle',
    'federation-finished': 'finished',
    stop: 'finished',
  };
}
const stateIn = (phase: SessionPhase): SessionState => ({ phase, memory });
const effectTypes = (step: SessionStep): string[] => step.effects.map((effect) => effect.type);
/** Takes events one after the other; the last step. */
const play = (state: SessionState, ...path: SessionEvent[]): SessionStep =>
  path.reduce<SessionStep>((step, event) => receive(step.state, event), { state, effects: [] });

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
        const isAnswer = 'roundHash' in event && !('offer' in phase || phase.name === 'evaluating');
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
      { type: 'evaluate', request, known: true },
      { type: 'evaluated', roundHash },
      { type: 'result', result },
      { type: 'federation-finished', status: 'completed', detail: 'all rounds' },
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
      'note-contribution',
      'evaluate',
      'accept-result',
      'close',
    ]);
    assert.equal(step.state.memory.lastRoundIndex, 0);
    assert.deepEqual(step.state.memory.lastResult, { roundIndex: 0, modelHash: result.newModelHash });
  });

  it('[CLI-3] never contributes twice to one round number, under whatever round hash', () => {
    const contributed = receive(stateIn(phases.training), { type: 'trained', roundHash }).state;
    const step = receive({ ...contributed, phase: phases.idle }, { type: 'offer', offer: offerOf('9', {}) });
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
      const lost = receive(state, { type: 'connection-lost', detail: 'gone' });
      assert.deepEqual(lost.effects, [{ type: 'schedule-reconnect', attempt, detail: 'gone' }]);
      const due = receive(lost.state, { type: 'reconnect-due' });
      assert.deepEqual(due.effects, [{ type: 'connect' }]);
      // A timer that fires twice opens no second connection.
      assert.deepEqual(receive(due.state, { type: 'reconnect-due' }).effects, []);
      state = due.state;
    }
    assert.deepEqual(receive(state, { type: 'connected' }).state.phase, phases.training);
  });

  it('[CLI-6] work that ends without a connection leads to the phase that waits for one, and comes back', () => {
    const failed: SessionEvent = { type: 'work-failed', roundHash, detail: 'no memory' };
    const lost: SessionEvent = { type: 'connection-lost', detail: 'gone' };
    for (const name of ['fetching', 'training', 'uploading', 'evaluating'] as const) {
      const waiting: SessionState = play(stateIn(phases[name]), lost, failed).state;
      assert.deepEqual(waiting.phase, { name: 'disconnected', attempt: 1 });
      assert.deepEqual(effectTypes(receive(waiting, { type: 'reconnect-due' })), ['connect']);
      const connecting: SessionState = play(stateIn(phases[name]), lost, { type: 'reconnect-due' }, failed).state;
      assert.deepEqual(connecting.phase, { name: 'connecting', attempt: 1 });
      assert.equal(receive(connecting, { type: 'connected' }).state.phase.name, 'idle');
    }
  });

  it('[CLI-7] evaluates no round that it did not prepare, and says so, so that nobody waits', () => {
    const step = receive(stateIn(phases.idle), { type: 'evaluate', request, known: false });
    assert.deepEqual(effectTypes(step), ['report', 'skip-evaluation']);
    assert.equal(step.state.phase.name, 'idle');
    const other = { ...request, roundHash: digest('8') };
    const whileUploading = receive(stateIn(phases.uploading), { type: 'evaluate', request: other, known: true });
    assert.deepEqual(effectTypes(whileUploading), ['report', 'skip-evaluation']);
    assert.equal(whileUploading.state.phase.name, 'uploading');
  });

  it('[CLI-30] a request to evaluate that overtakes the receipt says that the update arrived', () => {
    const step = receive(stateIn(phases.uploading), { type: 'evaluate', request, known: true });
    assert.deepEqual(effectTypes(step), ['abandon-work', 'note-contribution', 'evaluate']);
  });

  it('[CLI-31] a result ends training for its round, leaves other work alone, and never goes back in time', () => {
    const late = receive(stateIn(phases.training), { type: 'result', result });
    assert.deepEqual(effectTypes(late), ['abandon-work', 'accept-result']);
    const other = receive(stateIn(phases.training), { type: 'result', result: { ...result, roundHash: digest('8') } });
    assert.deepEqual([effectTypes(other), other.state.phase.name], [['accept-result'], 'training']);
    const again = receive(late.state, { type: 'result', result: { ...result, newModelHash: digest('9') } });
    assert.deepEqual(effectTypes(again), ['report']);
    assert.equal(again.state.memory.lastResult?.modelHash, result.newModelHash);
  });

  it('[CLI-32] what fails before the update is declined; what fails later only ends', () => {
    const failed: SessionEvent = { type: 'work-failed', roundHash, detail: 'no memory' };
    assert.deepEqual(effectTypes(receive(stateIn(phases.fetching), failed)), ['decline']);
    assert.deepEqual(effectTypes(receive(stateIn(phases.training), failed)), ['decline']);
    assert.deepEqual(effectTypes(receive(stateIn(phases.uploading), failed)), []);
    assert.deepEqual(effectTypes(receive(stateIn(phases.evaluating), failed)), ['skip-evaluation']);
  });

  it('[CLI-33] an end abandons work first', () => {
    for (const phase of Object.values(phases)) {
      if (phase.name === 'finished') continue;
      const isWork = 'link' in phase;
      const step = receive(stateIn(phase), { type: 'stop' });
      assert.deepEqual(effectTypes(step), isWork ? ['abandon-work', 'close'] : ['close']);
    }
    const ended = receive(stateIn(phases.idle), { type: 'federation-finished', status: 'stopped', detail: 'why' });
    assert.deepEqual(ended.effects, [{ type: 'close', reason: { kind: 'federation-stopped', detail: 'why' } }]);
  });

  it('[CLI-34] walks of random events contribute once per round number, and an end is an end', () => {
    const random = seededRandom(1, 'session');
    const ends: readonly EventName[] = ['stop', 'federation-finished', 'admission-refused', 'enrolment-refused'];
    const list = Object.values(events).filter(({ type }) => !ends.includes(type));
    let contributions = 0;
    for (let walk = 0; walk < 800; walk++) {
      let { state } = startSession(memory, walk % 2 === 0);
      let last = -1;
      for (let step = 0; step < 200; step++) {
        let event = random.integer(100) === 0 ? events.stop : list[random.integer(list.length)]!;
        const { phase } = state;
        // Offers of six rounds, two of them with the same number; answers are about the round in hand.
        const digit = `${random.integer(6)}`;
        const roundIndex = Math.min(4, Number(digit));
        if (event.type === 'offer') event = { type: 'offer', offer: offerOf(digit, { roundIndex }) };
        else if ('roundHash' in event && 'offer' in phase) event = { ...event, roundHash: phase.offer.roundHash };
        const next = receive(state, event);
        for (const effect of next.effects) {
          if (effect.type !== 'contribute') continue;
          assert.ok(effect.offer.roundParams.roundIndex > last, 'one contribution per round number');
          last = effect.offer.roundParams.roundIndex;
          contributions++;
        }
        if (phase.name === 'finished') assert.deepEqual(next.state, state);
        state = next.state;
      }
    }
    assert.ok(contributions > 20, `the walks reach contributions, found ${contributions}`);
  });
});

describe('session checks', () => {
  it('[CLI-8] name the first thing that is wrong with an offer', () => {
    const contributed = { ...memory, lastRoundIndex: 3, lastResult: { roundIndex: 3, modelHash: digest('8') } };
    const codeOf = (changes: Partial<Offer['roundParams']>, remembered: SessionMemory) =>
      checkOffer(offerOf('1', changes), remembered)?.code ?? null;
    assert.equal(codeOf({}, memory), null);
    assert.equal(codeOf({ federationId: parseFederationId('e'.repeat(64)) }, memory), 'wrong-federation');
    assert.equal(codeOf({ suite: 3 }, memory), 'unsupported-suite');
    assert.equal(codeOf({ roundIndex: 3 }, contributed), 'stale-round');
    assert.equal(codeOf({ roundIndex: 4 }, contributed), 'model-discontinuity');
    assert.equal(codeOf({ roundIndex: 4, modelHash: digest('8') }, contributed), null);
    // A round in between may have been published while this client was away.
    assert.equal(codeOf({ roundIndex: 5 }, contributed), null);
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
    assert.equal(jitter({ bytes: () => Uint8Array.of(0, 0) }), 0);
    assert.equal(jitter({ bytes: () => Uint8Array.of(255, 255) }), 65_535 / 65_536);
  });
});
