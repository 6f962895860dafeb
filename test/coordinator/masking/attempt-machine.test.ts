import { strict as assert } from 'node:assert';
import { decodeAttemptMessage, encodeAttemptMessage } from '../../../coordinator/masking/attempt-log.ts';
import { type AttemptEffect, createAttemptMachine } from '../../../coordinator/masking/attempt-machine.ts';
import type { GroupedServerEvent } from '../../../shared/secure-aggregation/grouped-server.ts';
import { receiveAsGroupedServer } from '../../../shared/secure-aggregation/grouped-server.ts';
import { judgeCertificate, roundHash } from '../../shared/secure-aggregation/cohort.ts';
import { runGroupedCohort } from '../../shared/secure-aggregation/grouped-cohort.ts';

const grouping = { size: 5, clientCountMin: 3 };
const dim = 5;

/** The messages of a round in two groups, of which one loses a member, that a coordinator makes durable. */
function durableMessages() {
  const messages: string[] = [];
  const phases: string[] = [];
  const watch = {
    client: () => undefined,
    server: (state: Parameters<typeof receiveAsGroupedServer>[0], event: GroupedServerEvent): void => {
      const next = receiveAsGroupedServer(state, event);
      for (const effect of next.effects) {
        if (effect.type !== 'persist') continue;
        messages.push(encodeAttemptMessage(effect.event));
        phases.push(next.state.phase.name);
      }
    },
  };
  const vanishes = (index: number, kind: string): boolean => index === 2 && kind === 'MASKED';
  const { server } = runGroupedCohort({ clientCount: 10, grouping, vanishes, watch });
  assert.equal(server.phase.name, 'opened');
  return { messages, phases, invited: server.setting.invited };
}

describe('the machine of an attempt, replayed', () => {
  const { messages, phases, invited } = durableMessages();
  const bounds = { clientCountMin: 5, clientCountMax: 1000, organisationCountMin: 1, profile: 'active' } as const;
  const setting = { ...bounds, roundHash, judgeCertificate, invited, vectorBytes: 4 * (dim + 2), grouping };

  it('[ATM-1] groups: durable messages give the same phase again after every one of them, and the same sums at the end', () => {
    const openings: AttemptEffect[][] = [];
    for (let run = 0; run < 2; run++) {
      const machine = createAttemptMachine(setting);
      const effects: AttemptEffect[] = [];
      for (const [index, message] of messages.entries()) {
        const step = machine.receive(decodeAttemptMessage(message));
        effects.push(...step.filter(({ type }) => type === 'open-sums'));
        assert.equal(machine.phase(), phases[index], `after message ${index}`);
      }
      openings.push(effects);
    }
    assert.equal(openings[0]!.length, 1);
    assert.deepEqual(openings[0], openings[1]);
  });

  it('[ATM-2] groups: it names whom it waits for in every phase, never somebody who is done', () => {
    const machine = createAttemptMachine(setting);
    const seen = new Set<string>();
    for (const message of messages) {
      const event = decodeAttemptMessage(message);
      if ('clientId' in event && event.type !== 'masked')
        assert.ok(machine.missing().includes(event.clientId), `${machine.phase()}: ${event.type}`);
      seen.add(machine.phase());
      machine.receive(event);
    }
    assert.deepEqual([...seen], ['advertising', 'drawing', 'sharing', 'collecting', 'agreeing', 'unmasking']);
    assert.deepEqual(machine.missing(), []);
  });
});
