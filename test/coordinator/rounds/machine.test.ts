import { strict as assert } from 'node:assert';
import { summarise } from '../../../coordinator/rounds/ending.ts';
import { receive, startFederation } from '../../../coordinator/rounds/machine.ts';
import type {
  FederationEvent,
  FederationState,
  FederationStep,
  RoundSettings,
} from '../../../coordinator/rounds/state.ts';
import { askable, counts, deadlineOf } from '../../../coordinator/rounds/state.ts';
import type { EventName, PhaseName } from '../../../coordinator/rounds/table.ts';
import { eventNames, phaseDiagram, phaseNames, roundTable } from '../../../coordinator/rounds/table.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { parseClientId } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';

const client = (index: number): ClientId => parseClientId(index.toString(16).padStart(64, '0'));
const [a, b, c] = [client(1), client(2), client(3)];
const modelHash = 'ab'.repeat(32) as Digest;
const settings: RoundSettings = {
  roundCount: 2,
  cohortSize: 3,
  quorum: 2,
  recruitMs: 1_000,
  trainMs: 10_000,
  evaluateMs: 2_000,
  isMasked: false,
  maskMs: 500,
  evaluateEvery: 1,
  waitMs: 60_000,
  voidsMax: 2,
  refusalsMax: 2,
  seed: 7,
};

type Loose = {
  type: EventName;
  atMs?: number;
  clientId?: ClientId;
  fraction?: number;
  reason?: string;
  detail?: string;
};
const eventOf = (loose: Loose): FederationEvent =>
  ({
    atMs: 0,
    clientId: a,
    fraction: 0.5,
    reason: 'no',
    detail: 'no',
    modelHash,
    contributors: [a, b],
    ejected: [],
    ...loose,
  }) as FederationEvent;

function start(changes: Partial<RoundSettings> = {}): FederationState {
  return startFederation({ ...settings, ...changes }, { atMs: 0, roundIndex: 0, publishedCount: 0, outcomes: [] })
    .state;
}

/** Sends events one after the other and checks that every change of phase stands in the table. */
function play(state: FederationState, ...events: Loose[]): FederationStep {
  let step: FederationStep = { state, effects: [] };
  for (const event of events) {
    const from = step.state.phase.name;
    const next = receive(step.state, eventOf(event));
    const legal = roundTable[from][event.type];
    if (legal !== undefined)
      assert.ok(
        legal.includes(next.state.phase.name),
        `${from} x ${event.type} -> ${next.state.phase.name} is not in the table`,
      );
    step = next;
  }
  return step;
}

const joins: Loose[] = [a, b, c].map((clientId) => ({ type: 'client-joined', clientId }));
const accepts: Loose[] = [a, b, c].map((clientId) => ({ type: 'accepted', clientId }));
const updates: Loose[] = [a, b, c].map((clientId) => ({ type: 'update-stored', clientId }));
const readies: Loose[] = [a, b, c].map((clientId) => ({ type: 'client-ready', clientId }));
const reports: Loose[] = [a, b, c].map((clientId) => ({ type: 'evaluation-stored', clientId }));
const wholeRound: Loose[] = [...accepts, ...updates, { type: 'aggregated' }, ...reports, { type: 'published' }];

function stateIn(phase: PhaseName): FederationState {
  const paths: Record<PhaseName, Loose[]> = {
    waiting: [],
    recruit: joins,
    train: [...joins, ...accepts],
    mask: [...joins, ...accepts, ...readies],
    aggregate: [...joins, ...accepts, ...updates],
    evaluate: [...joins, ...accepts, ...updates, { type: 'aggregated' }],
    publish: [...joins, ...accepts, ...updates, { type: 'aggregated' }, ...reports],
    completed: [...joins, ...wholeRound, ...wholeRound],
    stopped: [{ type: 'stop-requested' }],
  };
  return play(start({ isMasked: phase === 'mask' }), ...paths[phase]).state;
}

describe('round machine', () => {
  for (const phase of phaseNames) {
    for (const event of eventNames) {
      const legal = roundTable[phase][event];
      it(`[RND-1] ${phase} x ${event}: ${legal === undefined ? 'violation' : 'legal'}`, () => {
        const state = stateIn(phase);
        assert.equal(state.phase.name, phase);
        const step = receive(state, eventOf({ type: event, atMs: 10 ** 9 }));
        const violated = step.effects.some((effect) => effect.type === 'reject' && effect.code === 'unexpected-event');
        assert.equal(violated, legal === undefined);
        if (legal === undefined) assert.equal(step.state, state);
        else assert.ok(legal.includes(step.state.phase.name));
      });
    }
  }

  it('[RND-20] a refused candidate makes its round void, and so many in a row stop the federation', () => {
    const judged: Loose[] = [...accepts, ...updates, { type: 'aggregated' }, ...reports];
    const refused: Loose = { type: 'candidate-refused', detail: 'worse by far' };
    const again: Loose = { type: 'deadline-reached', atMs: 10 ** 9 };
    const first = play(start({ voidsMax: 9 }), ...joins, ...judged, refused);
    assert.equal(first.state.phase.name, 'waiting');
    assert.deepEqual(
      first.state.outcomes.map(({ kind, detail }) => [kind, detail]),
      [['void', 'worse by far']],
    );
    const published = play(first.state, again, ...wholeRound, ...judged, refused);
    assert.equal(published.state.refusalsInRow, 1, 'a version in between begins the count anew');
    const stopped = play(published.state, again, ...judged, refused);
    assert.equal(stopped.state.phase.name, 'stopped');
    const finish = stopped.effects.find((effect) => effect.type === 'finish');
    assert.match(finish?.detail ?? '', /the gate refused 2 candidates in a row; the last: worse by far; 1 of 2 rounds/);
  });

  it('[RND-31] who is ejected from a masked round sits out three round numbers, also when it comes back, or until an operator releases it', () => {
    const opened = play(
      start({ isMasked: true }),
      ...[a, b, c].map((clientId): Loose => ({ type: 'client-joined', clientId })),
    );
    const masking: FederationState = {
      ...opened.state,
      phase: { name: 'mask', asked: [a, b, c], contributors: [a, b, c] },
    };
    const after = receive(masking, { type: 'attempt-failed', detail: 'no', ejected: [c], atMs: 0 }).state;
    assert.deepEqual(askable(after), [a, b]);
    const back = receive(after, { type: 'client-joined', clientId: c, atMs: 0 }).state;
    assert.deepEqual(askable(back), [a, b]);
    const next = receive(back, { type: 'deadline-reached', atMs: 10 ** 6 }).state;
    assert.ok(next.phase.name === 'recruit');
    assert.deepEqual(next.phase.asked, [a, b]);
    const late = receive(next, { type: 'client-joined', clientId: c, atMs: 10 ** 6 }).state;
    assert.ok(late.phase.name === 'recruit');
    assert.deepEqual(late.phase.asked, [a, b], 'a round that recruits does not ask it either');
    assert.deepEqual(
      [1, 3, 4].map((roundIndex) => askable({ ...after, roundIndex })),
      [
        [a, b],
        [a, b],
        [a, b, c],
      ],
    );
    const letIn = receive(back, { type: 'client-joined', clientId: c, isReleased: true, atMs: 0 }).state;
    assert.deepEqual(askable(letIn), [a, b, c]);
    const waiting = { ...after, settings: { ...settings, quorum: 3 } };
    const alone = receive(receive(waiting, { type: 'deadline-reached', atMs: 10 ** 6 }).state, {
      type: 'deadline-reached',
      atMs: 10 ** 7,
    }).state;
    assert.ok(alone.phase.name === 'stopped');
    assert.match(alone.phase.detail, /only 2 of 3 clients .* were connected, beside 1 that were ejected/);
  });

  it('[RND-21] an operator who stops while a candidate is judged gets no further round', () => {
    const stopping = play(stateIn('publish'), { type: 'stop-requested' }, { type: 'candidate-refused' });
    assert.equal(stopping.state.phase.name, 'stopped');
  });

  it('[RND-2] seeded walks stay within the table, use every arrow of it, and always end', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 4000; seed++) {
      const random = seededRandom(seed, 'walk');
      const evaluateEvery = random.integer(2);
      let state = start({
        cohortSize: random.integer(2) === 0 ? null : 3,
        voidsMax: 1 + random.integer(2),
        refusalsMax: 1 + random.integer(2),
        evaluateEvery,
        isMasked: random.integer(2) === 0,
        quorum: 1 + random.integer(2),
      });
      let atMs = 0;
      for (let count = 0; count < 120; count++) {
        const from = state.phase.name;
        const choices = Object.keys(roundTable[from]) as EventName[];
        const type = choices[random.integer(choices.length)];
        if (type === undefined) break;
        if (type === 'stop-requested' && random.integer(from === 'evaluate' ? 3 : 20) > 0) continue;
        if (type === 'candidate-refused' && random.integer(3) > 0) continue;
        atMs = type === 'deadline-reached' ? Math.max(atMs, deadlineOf(state) ?? 0) : atMs + random.integer(300);
        const step = receive(
          state,
          eventOf({ type, atMs, clientId: client(1 + random.integer(4)), fraction: random.uniform() }),
        );
        assert.ok(
          roundTable[from][type]?.includes(step.state.phase.name),
          `seed ${seed}: ${from} x ${type} -> ${step.state.phase.name}`,
        );
        if (step.state.phase.name !== from) seen.add(`${from} x ${type} -> ${step.state.phase.name}`);
        assert.ok(step.state.roundIndex >= state.roundIndex, 'round numbers never go back');
        state = step.state;
      }
      // With nobody answering any more, deadlines alone bring every federation to its end.
      for (let count = 0; count < 40 && deadlineOf(state) !== null; count++) {
        const gone = state.present.map((clientId): Loose => ({ type: 'client-left', clientId, atMs }));
        state = play(state, ...gone).state;
        atMs = Math.max(atMs, deadlineOf(state) ?? 0);
        state = play(state, { type: 'deadline-reached', atMs }).state;
        if (state.phase.name === 'aggregate') state = play(state, { type: 'aggregation-failed', atMs }).state;
        if (state.phase.name === 'mask') state = play(state, { type: 'attempt-failed', atMs }).state;
        if (state.phase.name === 'publish') state = play(state, { type: 'published', atMs }).state;
      }
      assert.ok(
        ['completed', 'stopped', 'mask', 'aggregate', 'publish'].includes(state.phase.name),
        `seed ${seed} waits for ever in ${state.phase.name}`,
      );
    }
    const arrows = phaseNames.flatMap((from) =>
      eventNames.flatMap((event) =>
        (roundTable[from][event] ?? []).filter((to) => to !== from).map((to) => `${from} x ${event} -> ${to}`),
      ),
    );
    assert.deepEqual(
      arrows.filter((arrow) => !seen.has(arrow)),
      [],
      'arrows that no walk took',
    );
  });

  it('[RND-3] a whole federation completes and says so', () => {
    const { state, effects } = play(start(), ...joins, ...wholeRound, ...wholeRound);
    assert.equal(state.phase.name, 'completed');
    assert.deepEqual(effects, [{ type: 'finish', status: 'completed', detail: summarise(state) }]);
    assert.match(summarise(state), /^2 of 2 rounds published, all clients that were asked contributed$/);
  });

  it('[RND-4] a round closes at its deadline with those who delivered: "completed with 2 of 3"', () => {
    const training = play(stateIn('train'), updates[0]!, updates[1]!).state;
    const { state, effects } = play(training, { type: 'deadline-reached', atMs: deadlineOf(training)! });
    assert.deepEqual(effects, [{ type: 'aggregate', contributors: [a, b] }]);
    const closed = play(state, { type: 'aggregated' }, reports[0]!, reports[1]!, { type: 'published' }).state;
    assert.equal(closed.outcomes[0]?.detail, 'completed with 2 of 3');
    assert.match(summarise(closed), /1 with fewer clients than asked \(fewest 2 of 3\)/);
  });

  it('[RND-5] below quorum the round is void, its number is never used again, and the second void in a row stops', () => {
    const training = play(stateIn('train'), updates[0]!).state;
    const step = play(training, { type: 'deadline-reached', atMs: deadlineOf(training)! });
    assert.equal(step.effects[0]?.type, 'void-round');
    assert.equal(step.state.roundIndex, 1);
    const again = play(step.state, { type: 'deadline-reached', atMs: deadlineOf(step.state)! });
    assert.deepEqual(again.effects[0], { type: 'open-round', roundIndex: 1, clients: [a, b, c] });
    const stopped = play(again.state, { type: 'deadline-reached', atMs: deadlineOf(again.state)! });
    assert.equal(stopped.state.phase.name, 'stopped');
    assert.match(JSON.stringify(stopped.effects), /2 void rounds in a row/);
  });

  it('[RND-6] a client that would finish soon gets a bounded extension once; one that would not gets none', () => {
    const two = play(stateIn('train'), updates[0]!, updates[1]!).state;
    const slow = play(two, { type: 'progressed', clientId: c, fraction: 0.8, atMs: 9_000 }).state;
    const extended = play(slow, { type: 'deadline-reached', atMs: 10_000 });
    assert.equal(extended.state.phase.name, 'train');
    assert.equal(deadlineOf(extended.state), 12_250);
    assert.equal(play(extended.state, { type: 'deadline-reached', atMs: 12_250 }).state.phase.name, 'aggregate');
    const tooSlow = play(two, { type: 'progressed', clientId: c, fraction: 0.1, atMs: 9_000 }).state;
    assert.equal(play(tooSlow, { type: 'deadline-reached', atMs: 10_000 }).state.phase.name, 'aggregate');
  });

  it('[RND-7] a client that comes back is offered the round again and still counts', () => {
    const gone = play(stateIn('train'), { type: 'client-left', clientId: c }).state;
    const back = play(gone, { type: 'client-joined', clientId: c });
    assert.deepEqual(back.effects, [{ type: 'offer', clients: [c] }]);
    assert.deepEqual(play(back.state, ...updates).effects, [{ type: 'aggregate', contributors: [a, b, c] }]);
  });

  it('[RND-8] absent clients alone do not hold a round for its whole training time', () => {
    const state = play(stateIn('train'), updates[0]!, updates[1]!, {
      type: 'client-left',
      clientId: c,
      atMs: 100,
    }).state;
    assert.equal(deadlineOf(state), 2_600);
  });

  it('[RND-9] who was not asked is turned away, and the round goes on', () => {
    const step = play(stateIn('train'), { type: 'update-stored', clientId: client(9) });
    assert.deepEqual(
      step.effects.map((effect) => effect.type === 'reject' && effect.code),
      ['not-in-cohort'],
    );
    assert.equal(step.state.phase.name, 'train');
  });

  it('[RND-10] a client that declines is replaced from the reserve', () => {
    const recruiting = play(start(), ...joins, { type: 'client-joined', clientId: client(4) }).state;
    assert.deepEqual(play(recruiting, { type: 'declined', clientId: b }).effects, [
      { type: 'offer', clients: [client(4)] },
    ]);
  });

  it('[RND-11] waiting for a quorum ends', () => {
    const state = play(start(), joins[0]!).state;
    const { state: stopped } = play(state, { type: 'deadline-reached', atMs: settings.waitMs });
    assert.match(stopped.phase.name === 'stopped' ? stopped.phase.detail : '', /only 1 of 2 clients/);
  });

  it('[RND-12] a timer of an earlier deadline changes nothing', () => {
    const state = stateIn('train');
    assert.equal(play(state, { type: 'deadline-reached', atMs: 5 }).state, state);
  });

  it('[RND-13] a restarted federation that has all its rounds is complete at once', () => {
    const step = startFederation(settings, { atMs: 0, roundIndex: 3, publishedCount: 2, outcomes: [] });
    assert.equal(step.state.phase.name, 'completed');
  });

  it('[RND-32] budget-stop: at the first number that is not paid a federation stops at once, after a start, a void round and a version', () => {
    const paid = { budgetRounds: 1, roundCount: 3, voidsMax: 9 };
    const spent = /^the privacy budget is spent: it pays 1 rounds, void ones included; /;
    const detailOf = ({ state: { phase }, effects }: FederationStep): string => {
      assert.ok(phase.name === 'stopped', phase.name);
      assert.deepEqual(effects.at(-1), { type: 'finish', status: 'stopped', detail: phase.detail });
      return phase.detail;
    };
    const begin = { atMs: 0, publishedCount: 0, outcomes: [] };
    assert.match(detailOf(startFederation({ ...settings, ...paid }, { ...begin, roundIndex: 1 })), spent);
    const resumed = { asked: [a, b, c], contributors: [a, b] };
    const goesOn = startFederation({ ...settings, ...paid }, { ...begin, roundIndex: 1, resumed });
    assert.equal(goesOn.state.phase.name, 'mask', 'a number that was offered is paid');
    const late: Loose = { type: 'deadline-reached', atMs: 10 ** 9 };
    const voided = play(start(paid), ...joins, ...accepts, late);
    assert.match(detailOf(voided), spent);
    assert.equal(voided.effects[0]?.type, 'void-round');
    assert.match(detailOf(play(start(paid), ...joins, ...wholeRound)), spent);
    assert.equal(play(start({ ...paid, budgetRounds: 2 }), ...joins, ...wholeRound).state.phase.name, 'recruit');
  });

  it('[RND-14] a stop makes the round under way void, and its number is used up', () => {
    const { state, effects } = play(stateIn('train'), updates[0]!, { type: 'stop-requested' });
    assert.deepEqual(
      effects.map(({ type }) => type),
      ['void-round', 'finish'],
    );
    assert.equal(state.roundIndex, 1);
    assert.deepEqual(state.outcomes, [
      { roundIndex: 0, kind: 'void', asked: 3, contributed: 1, detail: 'stopped by its operator' },
    ]);
    assert.equal(summarise(state), '0 of 2 rounds published, 1 void');
  });

  it('[RND-15] a stop while a version is being published lets it count, then stops', () => {
    const asked = play(stateIn('publish'), { type: 'stop-requested' });
    assert.deepEqual([asked.state.phase.name, asked.effects], ['publish', []]);
    const { state, effects } = play(asked.state, { type: 'published' });
    assert.equal(state.publishedCount, 1);
    assert.deepEqual(effects, [
      {
        type: 'finish',
        status: 'stopped',
        detail: 'stopped by its operator; 1 of 2 rounds published, all clients that were asked contributed',
      },
    ]);
  });

  it('[RND-16] says whose update is part of the round in hand', () => {
    const training = play(stateIn('train'), updates[0]!).state;
    assert.deepEqual([counts(training, a), counts(training, b)], [true, false]);
    assert.equal(counts(stateIn('aggregate'), b), true);
    assert.equal(counts(stateIn('waiting'), a), false);
  });

  it('prints the diagram from the table', () => {
    assert.match(phaseDiagram(), /train --> aggregate: declined, update-stored, deadline-reached/);
  });
});
