/**
 * A federation world: the machines that run rounds and sessions in production under virtual time and a virtual network, with faults, hostile
 * clients or a hostile coordinator, all of it drawn from one seed. Checkers look after every event; at last the network heals, and the
 * federation must come to its end.
 */
import { legalEvents, type SessionEvent } from '../../client/session/state.ts';
import type { RoundSettings } from '../../coordinator/rounds/state.ts';
import { roundTable } from '../../coordinator/rounds/table.ts';
import { equalBytes, fromHex, utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { check, RuleBroken } from '../checkers/check.ts';
import { createFaults, drawFaults, type FaultName, faultNames, noFaults } from '../faults/faults.ts';
import { createNetwork } from '../faults/network.ts';
import { createFederationClient, type FederationClient, type UpwardMessage } from './federation-client.ts';
import { createFederationCoordinator, hostileFederations } from './federation-coordinator.ts';
import { createLedger } from './federation-ledger.ts';
import { type FederationMachines, federationMachines } from './federation-machines.ts';
import { createVirtualTime } from './virtual-time.ts';

/** What federation worlds of a run saw together. */
export interface FederationCoverage {
  worlds: number;
  readonly client: Set<string>;
  readonly server: Set<string>;
  readonly faults: Map<FaultName, number>;
  readonly hostile: Set<string>;
  readonly rounds: Record<'published' | 'void', number>;
}

/** Nothing seen yet. */
export function createFederationCoverage(): FederationCoverage {
  return {
    worlds: 0,
    client: new Set(),
    server: new Set(),
    faults: new Map(),
    hostile: new Set(),
    rounds: { published: 0, void: 0 },
  };
}

/** Legal pairs, faults and hostile parties that a run has not seen. Enrolment comes before a world begins, and nothing in it is signed. */
export function missingFromFederations({ client, server, faults, hostile }: FederationCoverage): string[] {
  const pairs = (table: Readonly<Record<string, readonly string[]>>, seen: ReadonlySet<string>): string[] =>
    Object.entries(table).flatMap(([phase, events]) =>
      events
        .filter((event) => event !== 'void')
        .map((event) => `${phase} x ${event}`)
        .filter((pair) => !seen.has(pair)),
    );
  const { enrolling: _, ...sessions } = legalEvents;
  const rounds = Object.fromEntries(Object.entries(roundTable).map(([phase, row]) => [phase, Object.keys(row)]));
  return [
    ...pairs(sessions, client).map((pair) => `client ${pair}`),
    ...pairs(rounds, server).map((pair) => `coordinator ${pair}`),
    ...faultNames.filter((name) => name !== 'clock-skew' && !faults.has(name)),
    ...['client', ...hostileFederations].filter((name) => !hostile.has(name)),
  ];
}

/** Virtual time at which everything heals, and by which every federation ends. */
const [healsAtMs, endsByMs] = [90_000, 3_600_000];
const eventsMax = 60_000;

/**
 * Runs the federation world of a seed to its end and adds what it saw to `coverage`.
 *
 * @throws RuleBroken, with the seed in its message, when a rule does not hold.
 */
export function runFederation(
  seed: number,
  coverage: FederationCoverage,
  machines: FederationMachines = federationMachines,
): void {
  try {
    runToEnd(seed, coverage, machines);
  } catch (error) {
    if (!(error instanceof RuleBroken)) throw error;
    const detail = error.message.slice(error.rule.length + 2);
    throw new RuleBroken(error.rule, `${detail}; npm run simulate -- --federation --seed ${seed}`);
  }
}

function runToEnd(seed: number, coverage: FederationCoverage, machines: FederationMachines): void {
  const random = seededRandom(seed, 'federation');
  const time = createVirtualTime();
  const { clock } = time;
  const faults = createFaults(
    random.uniform() < 0.2 ? noFaults : drawFaults(random.fork('rates')),
    random.fork('faults'),
  );
  const network = createNetwork(clock, faults);
  const clientCount = 3 + random.integer(4);
  const quorum = 2 + random.integer(2);
  const kind = random.integer(4);
  const hostile = kind === 3 ? hostileFederations[random.integer(hostileFederations.length)]! : null;
  if (hostile !== null) coverage.hostile.add(hostile);
  const settings: RoundSettings = {
    roundCount: 2 + random.integer(3),
    cohortSize: random.uniform() < 0.3 && clientCount > quorum ? clientCount - 1 : null,
    quorum,
    recruitMs: 2_000,
    trainMs: 4_000,
    evaluateMs: 1_500,
    isMasked: random.uniform() < 0.5,
    maskMs: 400,
    evaluateEvery: random.integer(3),
    waitMs: 60_000,
    voidsMax: 3,
    refusalsMax: 2,
    seed,
  };
  const federationId = digestOf(utf8('federation')) as string as FederationId;
  const ledger = createLedger(quorum, 100);
  const contributed = new Map<string, Digest>();
  const clients: FederationClient[] = [];
  const clientOf = (clientId: ClientId): FederationClient | undefined =>
    clients.find((one) => one.clientId === clientId);

  /** Sends a message with its hash, as signatures make it: what was changed on the way is dropped. */
  const send = (link: string, message: unknown, deliver: () => boolean): void => {
    const bytes = utf8(JSON.stringify(message));
    const digest = fromHex(digestOf(bytes));
    network.send({
      link,
      parts: [bytes, digest],
      deliver: ([body, hash]) => (equalBytes(fromHex(digestOf(body!)), hash!) ? deliver() : true),
    });
  };
  const tell = (to: ClientId, event: SessionEvent): void =>
    send(`${to} down`, event, () => clientOf(to)?.hear(event) ?? false);
  const coordinator = createFederationCoordinator({
    ...{ clock, machines, faults, random: random.fork('coordinator'), federationId, settings, ledger, hostile, tell },
    seen: coverage.server,
    ask: (to, roundHash) => send(`${to} down`, roundHash, () => clientOf(to)?.unmask(roundHash) ?? false),
    cutAll: () => {
      for (const client of clients) client.cut();
    },
  });
  for (let index = 0; index < clientCount; index++) {
    const clientId = (index + 1).toString(16).padStart(64, '0') as ClientId;
    const isHostile = kind === 2 && index === 0;
    if (isHostile) coverage.hostile.add('client');
    clients.push(
      createFederationClient(clientId, isHostile, {
        ...{ clock, machines, faults, random: random.fork('client', index), federationId },
        seen: coverage.client,
        isReachable: () => coordinator.isUp(),
        send: (message: UpwardMessage) => send(`${clientId} up`, message, () => coordinator.hear(clientId, message)),
        leave: () => coordinator.left(clientId),
        contribute: (roundIndex, roundHash) => {
          const key = `${clientId} ${roundIndex}`;
          const before = contributed.get(key) ?? roundHash;
          check(
            'one-contribution',
            before === roundHash,
            `${clientId.slice(-4)} contributes twice to round ${roundIndex}`,
          );
          contributed.set(key, roundHash);
        },
      }),
    );
  }
  clock.after(healsAtMs, () => {
    faults.heal();
    coordinator.reform();
    for (const client of clients) client.revive();
  });

  let events = 0;
  while (coordinator.end() === null) {
    check('liveness', time.runNext(), 'nothing is due, and the federation is not over');
    check('liveness', ++events < eventsMax, `${events} events, and no end`);
    check('liveness', clock.nowMs() < endsByMs, `the federation is not over after ${clock.nowMs()} ms`);
    check('bounded-queues', time.pending() < 400 * clientCount, `${time.pending()} actions are due`);
  }
  for (const { status, isOpenable } of ledger.rounds) {
    // The next start tries it again, under new keys.
    const isWaiting = settings.isMasked && !isOpenable;
    check('linear-history', status !== 'open' || isWaiting, 'a round is open at the end');
  }
  for (const { status } of ledger.rounds) if (status !== 'open') coverage.rounds[status]++;
  for (let rest = 0; rest < 2_000 && time.runNext(); rest++);
  for (const [name, count] of faults.counts) coverage.faults.set(name, (coverage.faults.get(name) ?? 0) + count);
  coverage.worlds++;
}
