import { strict as assert } from 'node:assert';
import { createTally } from '../../../client/commands/tally.ts';
import { createWatch } from '../../../client/commands/watch.ts';
import type { ClientEvent } from '../../../client/events.ts';
import { createContext } from '../../../shared/command-line/context.ts';
import { parseDigest } from '../../../shared/core/ids.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

const modelHash = parseDigest('6'.repeat(64));
const training = (stepsDone: number, roundIndex = 3): ClientEvent => {
  return { type: 'training', roundIndex, stepsDone, stepCount: 100, loss: 0.25 };
};

/** What a watch writes of events that are a second apart. */
function written(events: readonly ClientEvent[], { interactive = false, verbose = false } = {}): string {
  const terminal = fakeTerminal({ interactive, columns: 100 });
  const signal = new AbortController().signal;
  const watch = createWatch(createContext({ terminal, json: false, verbose, signal }));
  for (const event of events) {
    watch.hear(event);
    terminal.pass(1000);
  }
  watch.finish();
  return terminal.errors.join('');
}

describe('watch of a client', () => {
  it('[CLI-104] shows rate and remaining time of what takes long', () => {
    const text = written([training(1), training(21), training(41)], { interactive: true });
    assert.match(text, /round 3: training {2}.*41 %.*41\/100 steps.*20\.0\/s.*(2\.9|3\.0) s left.*loss 0\.2500/);
  });

  it('[CLI-105] ends a progress line before it writes another line', () => {
    const result: ClientEvent = { type: 'result', roundIndex: 3, newModelHash: modelHash, contributorCount: 5 };
    const lines = written([training(1), result, training(1, 4)], { interactive: true }).split('\n');
    assert.match(lines[0]!, /round 3: training/);
    assert.equal(lines[1], 'round 3: published, made by 5 sites');
    assert.match(lines[2]!, /round 4: training/);
  });

  it('[CLI-106] says what an operator may want to act on, and with --verbose what goes without saying', () => {
    const events: ClientEvent[] = [
      { type: 'waiting-for-approval', fingerprint: 'ABCD-EFGH' },
      { type: 'disconnected', detail: 'gone', retryMs: 1500 },
      { type: 'declined', roundIndex: 2, code: 'policy-refused', detail: 'too many rounds' },
      { type: 'problem', code: 'late-update', detail: 'the round is over' },
    ];
    assert.equal(
      written(events),
      [
        "waiting for approval: read this fingerprint to the administrator of the consortium who calls, or without one to the coordinator's operator: ABCD-EFGH",
        'not connected (gone); next attempt in 1.5 s',
        'round 2: declined (policy-refused): too many rounds',
        'problem (late-update): the round is over',
        '',
      ].join('\n'),
    );
    const usual: ClientEvent[] = [
      { type: 'offered', roundIndex: 2 },
      { type: 'evaluated', modelHash, disclosed: false },
    ];
    assert.equal(written(usual), '');
    assert.equal(written(usual, { verbose: true }), 'round 2: offered\nevaluated; nothing was disclosed\n');
  });
});

describe('tally of a client', () => {
  it('[CLI-107] gathers contributions with what became of them, and refusals', () => {
    const tally = createTally();
    const events: ClientEvent[] = [
      { type: 'uploaded', roundIndex: 0, bytes: 400, exampleCount: 10 },
      { type: 'result', roundIndex: 0, newModelHash: modelHash, contributorCount: 3 },
      { type: 'result', roundIndex: 1, newModelHash: modelHash, contributorCount: 2 },
      { type: 'declined', roundIndex: 1, code: 'policy-refused', detail: 'no' },
      { type: 'uploaded', roundIndex: 2, bytes: 400, exampleCount: 10 },
    ];
    for (const event of events) tally.hear(event);
    assert.deepEqual(tally.rounds(), [
      { roundIndex: 0, bytes: 400, exampleCount: 10, published: { modelHash, contributorCount: 3 } },
      { roundIndex: 2, bytes: 400, exampleCount: 10, published: null },
    ]);
    assert.deepEqual(tally.declined(), [{ roundIndex: 1, code: 'policy-refused', detail: 'no' }]);
  });
});
