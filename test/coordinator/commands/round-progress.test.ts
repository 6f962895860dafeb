import { strict as assert } from 'node:assert';
import { describeEvent, describeMetrics, shorten } from '../../../coordinator/commands/describe-event.ts';
import { createRoundProgress } from '../../../coordinator/commands/round-progress.ts';
import type { CoordinatorProgress } from '../../../coordinator/events.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';

const [a, b] = ['aa', 'bb'].map((digits) => digits.repeat(32) as ClientId) as [ClientId, ClientId];
const roundHash = 'cc'.repeat(32) as Digest;
const metrics = {
  exampleCount: 20,
  accuracy: 0.75,
  macroF1: 0.7,
  microF1: null,
  entityF1: null,
  auroc: null,
  perplexity: null,
  loss: 0.5,
  calibrationError: 0.1,
  brier: 0.3,
};
const started = (roundIndex: number): CoordinatorProgress => ({
  type: 'round-started',
  roundIndex,
  roundHash,
  asked: 2,
  beyond: 0,
});
const step = (clientId: ClientId, stepsDone: number): CoordinatorProgress => ({
  type: 'client-progress',
  clientId,
  stepsDone,
  stepCount: 10,
});
const finished = (clientId: ClientId): CoordinatorProgress => ({
  type: 'client-finished',
  clientId,
  roundIndex: 4,
  exampleCount: 30,
  trainLoss: 0.25,
  seconds: 2,
});
const published: CoordinatorProgress = {
  type: 'published',
  version: 3,
  roundIndex: 4,
  modelHash: roundHash,
  asked: 2,
  contributors: 1,
  exampleCount: 30,
  metrics,
  measures: [{ name: 'factor-bias', value: 0.085 }],
  seconds: 61,
};

describe('progress of a federation', () => {
  it('[PRG-1] counts rounds, with the training of the one in hand as a fraction', () => {
    const progress = createRoundProgress();
    assert.equal(progress.note(), 'waiting for clients, 0 clients connected');
    for (const present of [1, 2]) assert.ok(progress.hear({ type: 'client-joined', clientId: a, present }));
    assert.ok(progress.hear(started(4)));
    assert.equal(progress.done(), 0);
    progress.hear(step(a, 5));
    assert.equal(progress.done(), 0.9 * 0.25);
    progress.hear(finished(a));
    progress.hear(step(b, 10));
    assert.equal(progress.done(), 0.9);
    assert.equal(progress.note(), 'round 4: 1 of 2 updates, 100 % trained, 2 clients connected');
    progress.hear(published);
    assert.equal(progress.done(), 1);
    assert.equal(progress.note(), 'round 4, 2 clients connected');
  });

  it('[PRG-2] never goes back when a round is void', () => {
    const progress = createRoundProgress();
    progress.hear(started(0));
    progress.hear(step(a, 10));
    const before = progress.done();
    progress.hear({ type: 'void', roundIndex: 0, detail: 'nobody' });
    progress.hear(started(1));
    assert.equal(progress.done(), before);
  });

  it('[PRG-3] events that change nothing are not shown', () => {
    assert.equal(createRoundProgress().hear({ type: 'listening', url: 'http://x' }), false);
  });
});

describe('lines about events', () => {
  const line = (event: CoordinatorProgress, verbose = false) => describeEvent(event, './state', verbose);

  it('[PRG-4] tell what an operator may want to act on', () => {
    const enrolled = { type: 'enrolled', clientId: a, name: 'ward' } as const;
    assert.equal(line({ ...enrolled, status: 'approved' }), 'enrolled "ward" as aaaaaaaa (approved)');
    assert.match(
      line({ ...enrolled, status: 'pending' })!,
      /tributary invite approve FINGERPRINT --state \.\/state; under a consortium: tributary invite requests/,
    );
    assert.equal(
      line(published),
      'round 4 published as version 3 with 1 of 2 clients, 1 min 01 s: accuracy 0.7500, macro-F1 0.7000, loss 0.5000 on 20 rows; factor bias 8.50 %',
    );
    assert.equal(line({ type: 'void', roundIndex: 2, detail: 'too few' }), 'round 2 is void: too few');
    const rejected = { type: 'rejected', code: 'non-finite', detail: 'value 3' } as const;
    assert.equal(line({ ...rejected, clientId: b }), 'refused bbbbbbbb (non-finite): value 3');
    assert.equal(line({ ...rejected, clientId: null }), 'refused a connection (non-finite): value 3');
    const declined = { type: 'client-declined', clientId: a, code: 'policy-refused', reason: 'too few' } as const;
    assert.equal(line(declined), 'aaaaaaaa does not take part (policy-refused): too few');
  });

  it('[PRG-5] about single clients come with --verbose only', () => {
    for (const event of [started(4), finished(a), { type: 'client-joined', clientId: a, present: 1 } as const]) {
      assert.equal(line(event), null);
      assert.notEqual(line(event, true), null);
    }
    assert.match(line(finished(a), true)!, /30 examples in 2\.0 s, training loss 0\.2500$/);
    assert.equal(line(step(a, 1), true), null);
  });

  it('[PRG-6] shorten identifiers and show AUROC where there is one', () => {
    assert.equal(shorten(a), 'aaaaaaaa');
    assert.match(describeMetrics({ ...metrics, auroc: 0.9 }), /, AUROC 0\.9000, loss/);
  });
});
