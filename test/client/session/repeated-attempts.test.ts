/** How often a masked round may begin again under its number. */
import { strict as assert } from 'node:assert';
import { attemptsMax } from '../../../client/session/checks.ts';
import type { SessionState } from '../../../client/session/machine.ts';
import { receive } from '../../../client/session/machine.ts';
import { parseDigest, parseFederationId } from '../../../shared/core/ids.ts';
import type { Offer } from '../../../shared/protocol/messages.ts';

const federationId = parseFederationId('f'.repeat(64));
const modelHash = parseDigest('5'.repeat(64));
const offerOf = (roundIndex: number, attempt: number): Offer => {
  const roundParams = { federationId, suite: 1, roundIndex, attempt, modelHash };
  return { roundHash: parseDigest(`${roundIndex}${attempt}`.padStart(64, '0')), roundParams } as unknown as Offer;
};

describe('repeated attempts at a client', () => {
  it('[CLI-108] a coordinator gets only so many divisions of one round number; the next number begins anew', () => {
    let state: SessionState = {
      phase: { name: 'idle' },
      memory: { federationId, lastRoundIndex: -1, lastResult: null },
    };
    const offer = (roundIndex: number, attempt: number): string => {
      const step = receive(state, { type: 'offer', offer: offerOf(roundIndex, attempt) });
      state = step.state;
      const last = step.effects.at(-1);
      return last?.type === 'decline' ? last.refusal.code : (last?.type ?? 'nothing');
    };
    for (let attempt = 0; attempt < attemptsMax; attempt++) assert.equal(offer(0, attempt), 'prepare');
    assert.equal(offer(0, attemptsMax - 1), 'nothing', 'an offer that is repeated is no attempt');
    assert.equal(offer(0, attemptsMax), 'stale-round');
    assert.equal(offer(1, 0), 'prepare');
    assert.equal(offer(1, 1), 'prepare');
  });
});
