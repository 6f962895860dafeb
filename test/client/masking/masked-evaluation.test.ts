/** Masked evaluations of clients with the machine of a coordinator between them, in memory. */
import { strict as assert } from 'node:assert';
import { createMaskedWork } from '../../../client/masking/masked-work.ts';
import type { Calls } from '../../../client/transport/calls.ts';
import { clientsOfStage } from '../../../coordinator/masking/waiting-for.ts';
import { utf8 } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest, FederationId } from '../../../shared/core/ids.ts';
import { succeed } from '../../../shared/core/result.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import type { Offer, PlainCall } from '../../../shared/protocol/messages.ts';
import { openAttempt, receiveAsServer } from '../../../shared/secure-aggregation/server-machine.ts';
import type { ServerEvent } from '../../../shared/secure-aggregation/server-state.ts';
import { evaluationHashOf } from '../../../shared/secure-aggregation/terms.ts';
import { noCounts } from '../../../shared/training/counts.ts';
import { bindTask } from '../../../shared/training/tasks/registry.ts';
import { testPlan } from '../../coordinator/harness.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { identityOf, judgeCertificate } from '../../shared/secure-aggregation/cohort.ts';

const counts = noCounts(bindTask(testPlan().task).shape);
const policy = parsePolicy({ cohortMin: 1, organisationsMin: 1 }, 'the test');
const digest = (digits: string): Digest => digits.repeat(32) as Digest;

/** Four clients that evaluate together. */
function cohort() {
  const works = new Map<ClientId, ReturnType<typeof createMaskedWork>>();
  const identities = [0, 1, 2, 3].map(identityOf);
  let hash = digest('00');
  let state: ReturnType<typeof openAttempt>;
  const hear = (event: ServerEvent): void => {
    const step = receiveAsServer(state, event);
    state = step.state;
    for (const effect of step.effects) {
      if (effect.type === 'reject') throw new Error(effect.reason.detail);
      if (!('clients' in effect) && effect.type !== 'send-delivery') continue;
      const { event: told, clients } = clientsOfStage(effect);
      for (const clientId of clients) works.get(clientId)!.take({ roundHash: hash, event: told });
    }
  };
  for (const [index, identity] of identities.entries()) {
    const { clientId, publicKey } = identity;
    const certificate = utf8(`org ${index}`);
    let vector: ServerEvent | null = null;
    const calls = {
      sendMasked: async (_: Digest, { kind, body, signature }: PlainCall<'masked'>) => {
        const said = { clientId, body, signature };
        if (kind === 'MASKED') vector = { type: 'masked', ...said };
        else if (kind === 'ADVERT') hear({ type: 'advert', ...said, publicKey, certificate });
        else hear({ type: kind.toLowerCase() as 'shares' | 'agree' | 'unmask', ...said });
        return succeed([]);
      },
      commitUpdate: async () => {
        hear(vector!);
        return succeed(digest('cc'));
      },
    } as unknown as Calls;
    const logHead = () => ({ size: 0, root: digest('00') });
    const roundingSecret = new Uint8Array(32);
    const member = { identity, federationId: 'f'.repeat(64) as FederationId, certificate, judgeCertificate, logHead };
    works.set(
      clientId,
      createMaskedWork({ member: { ...member, roundingSecret }, calls, policy, entropy: seededEntropy(index) }),
    );
  }
  return {
    /** What each says to the evaluation of a candidate of a round: that it took part, or why not. */
    evaluate: async (roundIndex: number, modelHash: Digest): Promise<string[]> => {
      const roundHash = digest(`0${roundIndex + 1}`);
      hash = evaluationHashOf(roundHash, modelHash);
      const bounds = { clientCountMin: 3, clientCountMax: 100, organisationCountMin: 1 };
      const invited = identities.map(({ clientId }) => clientId);
      state = openAttempt({ roundHash: hash, profile: 'active', ...bounds, judgeCertificate, invited, vectorBytes: 8 });
      const graph = { mode: 0, neighbourCount: 0 };
      const offer = { roundHash, roundParams: { suite: 1, roundIndex, profile: 1, ...bounds, ...graph } };
      const request = { roundHash, modelHash } as never;
      const never = new AbortController().signal;
      const outcomes = [...works.values()].map((work) =>
        work.evaluate(offer as unknown as Offer, request, counts, never),
      );
      return (await Promise.all(outcomes)).map((outcome) => (outcome.ok ? 'took part' : outcome.error.code));
    },
  };
}

describe('masked evaluations of clients', () => {
  it('[MSK-73] one evaluation per round number, whatever candidate the coordinator shows: a second one is shown no shares', async () => {
    const { evaluate } = cohort();
    const all = (word: string): string[] => Array.from({ length: 4 }, () => word);
    assert.deepEqual(await evaluate(1, digest('a1')), all('took part'));
    assert.deepEqual(await evaluate(1, digest('a2')), all('second-unmask'));
    assert.deepEqual(await evaluate(0, digest('a2')), all('second-unmask'), 'nor an earlier one');
    assert.deepEqual(await evaluate(2, digest('a2')), all('took part'));
  });
});
