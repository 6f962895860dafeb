import { strict as assert } from 'node:assert';
import {
  type GroupedClientEvent,
  type GroupedClientState,
  legalGroupedClientEvents,
  receiveAsGroupedClient,
} from '../../../shared/secure-aggregation/grouped-client.ts';
import {
  type GroupedServerEvent,
  type GroupedServerState,
  legalGroupedServerEvents,
  receiveAsGroupedServer,
} from '../../../shared/secure-aggregation/grouped-server.ts';
import { runGroupedCohort } from './grouped-cohort.ts';

/** A state of every phase and an event of every kind, from two whole rounds of which one ends early. */
function seen() {
  const clients = new Map<string, GroupedClientState>();
  const servers = new Map<string, GroupedServerState>();
  const toClients = new Map<string, GroupedClientEvent>();
  const toServer = new Map<string, GroupedServerEvent>();
  const reason = { code: 'stale-round', detail: 'over' } as const;
  const watch = {
    client: (state: GroupedClientState, event: GroupedClientEvent): void => {
      if (!clients.has(state.phase.name)) clients.set(state.phase.name, state);
      toClients.set(event.type, event);
    },
    server: (state: GroupedServerState, event: GroupedServerEvent): void => {
      if (!servers.has(state.phase.name)) servers.set(state.phase.name, state);
      toServer.set(event.type, event);
    },
  };
  const grouping = { size: 5, clientCountMin: 3 };
  const ended = [
    runGroupedCohort({ clientCount: 10, grouping, watch }),
    runGroupedCohort({ clientCount: 10, grouping, vanishes: (index, kind) => index === 0 && kind === 'DRAW', watch }),
  ];
  for (const { server } of ended) servers.set(server.phase.name, server);
  const [last] = ended[0]!.clients;
  toClients.set('result', { type: 'result' });
  toClients.set('abandon', { type: 'abandon', reason });
  toServer.set('abandon', { type: 'abandon', reason });
  toServer.set('deadline', { type: 'deadline' });
  clients.set('finished', receiveAsGroupedClient(last!, { type: 'result' }).state);
  clients.set('aborted', receiveAsGroupedClient(clients.get('drawn')!, { type: 'abandon', reason }).state);
  return { clients, servers, toClients, toServer };
}

describe('tables of rounds with groups', () => {
  const { clients, servers, toClients, toServer } = seen();

  it('[GTB-1] clients: every pair that is not in the table is reported and changes nothing', () => {
    // A member of a group that is left out has nothing to wait for: it is never met in that phase.
    const phases = Object.keys(legalGroupedClientEvents).filter((name) => name !== 'left-out');
    assert.deepEqual([...clients.keys()].sort(), phases.sort());
    const events = [...new Set(Object.values(legalGroupedClientEvents).flat())];
    assert.deepEqual([...toClients.keys()].sort(), [...events].sort());
    for (const [name, state] of clients)
      for (const event of toClients.values()) {
        if (legalGroupedClientEvents[state.phase.name].includes(event.type)) continue;
        const step = receiveAsGroupedClient(state, event);
        assert.equal(step.state, state, `${name} x ${event.type}`);
        assert.deepEqual(
          step.effects.map(({ type }) => type),
          ['report'],
          `${name} x ${event.type}`,
        );
      }
  });

  it('[GTB-2] the coordinator: every pair that is not in the table is refused and changes nothing', () => {
    assert.deepEqual([...servers.keys()].sort(), Object.keys(legalGroupedServerEvents).sort());
    for (const [name, state] of servers)
      for (const event of toServer.values()) {
        if (legalGroupedServerEvents[state.phase.name].includes(event.type)) continue;
        const step = receiveAsGroupedServer(state, event);
        assert.equal(step.state, state, `${name} x ${event.type}`);
        const expected = 'clientId' in event ? ['reject'] : [];
        assert.deepEqual(
          step.effects.map(({ type }) => type),
          expected,
          `${name} x ${event.type}`,
        );
      }
  });
});
