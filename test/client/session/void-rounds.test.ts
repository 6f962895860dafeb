/** Void rounds as the session machine hears of them. */
import { strict as assert } from 'node:assert';
import type { SessionMemory } from '../../../client/session/checks.ts';
import type { SessionState, SessionStep } from '../../../client/session/machine.ts';
import { receive } from '../../../client/session/machine.ts';
import { parseDigest, parseFederationId, parseSessionId } from '../../../shared/core/ids.ts';
import type { Offer } from '../../../shared/protocol/messages.ts';
import { unmaskedRound } from '../../../shared/protocol/round-params.ts';
import type { VoidRecord } from '../../../shared/protocol/void-record.ts';

const digest = (digit: string) => parseDigest(digit.repeat(64));
const memory: SessionMemory = { federationId: parseFederationId('f'.repeat(64)), lastRoundIndex: -1, lastResult: null };
const blob = { digest: digest('a'), size: 32, root: digest('b') };
const roundHash = digest('1');
const roundParams = unmaskedRound({
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
});
const offer: Offer = { roundHash, roundParams, plan: blob, base: [], adapter: blob };
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
const idle: SessionState = { phase: { name: 'idle' }, memory };
const training: SessionState = { phase: { name: 'training', offer, link: { name: 'up' } }, memory };
/** The offer of another round. */
const offerOf = (digit: string, changes: Partial<Offer['roundParams']>): Offer => ({
  ...offer,
  roundHash: digest(digit),
  roundParams: { ...roundParams, ...changes },
});
const effectTypes = (step: SessionStep): string[] => step.effects.map((effect) => effect.type);
const result = {
  roundHash,
  roundIndex: 0,
  resultHash: digest('c'),
  newModelHash: digest('6'),
  contributorCount: 2,
  totalWeight: 20,
  transcriptHash: digest('d'),
};

describe('void rounds at a client', () => {
  it('[CLI-36] a void round ends the work on it, is noted, and the next offer must start from the same model', () => {
    const heard = receive(training, { type: 'void', record, frame });
    assert.deepEqual([effectTypes(heard), heard.state.phase.name], [['abandon-work', 'note-void'], 'idle']);
    const next = (changes: Partial<Offer['roundParams']>) =>
      receive(heard.state, { type: 'offer', offer: offerOf('7', { roundIndex: 1, ...changes }) }).effects;
    assert.deepEqual(
      next({}).map(({ type }) => type),
      ['prepare'],
    );
    const codesOf = (effects: readonly SessionStep['effects'][number][]) =>
      effects.map((effect) => (effect.type === 'decline' ? effect.refusal.code : effect.type));
    assert.deepEqual(codesOf(next({ modelHash: digest('9') })), ['model-discontinuity']);
    assert.deepEqual(codesOf(next({ roundIndex: 0 })), ['stale-round']);
    const other = receive(training, {
      type: 'void',
      record: { ...record, roundHash: digest('8'), roundIndex: 3, nextRoundIndex: 4 },
      frame,
    });
    assert.deepEqual([effectTypes(other), other.state.phase.name], [['note-void'], 'training']);
  });

  it('[CLI-37] a void round that cannot be is reported and changes nothing: another model, number or federation', () => {
    const after = receive(idle, { type: 'result', result }).state;
    const lies: readonly [SessionState, Partial<VoidRecord>][] = [
      [training, { modelHash: digest('9') }],
      [training, { roundIndex: 4, nextRoundIndex: 5 }],
      [idle, { nextRoundIndex: 0 }],
      [idle, { federationId: parseFederationId('e'.repeat(64)) }],
      [after, {}],
      [after, { roundHash: digest('8'), roundIndex: 1, nextRoundIndex: 2 }],
    ];
    for (const [state, changes] of lies) {
      const step = receive(state, { type: 'void', record: { ...record, ...changes }, frame });
      assert.deepEqual([effectTypes(step), step.state], [['report'], state], JSON.stringify(changes));
    }
  });
});
