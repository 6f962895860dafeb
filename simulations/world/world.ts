/**
 * A world: the machines of production under virtual time and a virtual network, with faults, hostile clients or a hostile coordinator, all of
 * it drawn from one seed. Checkers look after every event. At its end the network heals, and a last round must come to its end with
 * everybody who follows the protocol.
 */
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Grouping } from '../../shared/secure-aggregation/division.ts';
import { openStage, type StageEvent, sealStage } from '../../shared/secure-aggregation/stage.ts';
import type { ClientAttemptEvent } from '../checkers/attempts.ts';
import { check, RuleBroken } from '../checkers/check.ts';
import { createClientChecker } from '../checkers/client-checker.ts';
import { createFaults } from '../faults/faults.ts';
import { hostileClient } from '../faults/hostile-client.ts';
import { hostileCoordinator } from '../faults/hostile-coordinator.ts';
import { createNetwork } from '../faults/network.ts';
import { type AttemptTerms, type ClientActor, createClientActor, type Upward } from './client-actor.ts';
import { createCoordinatorActor } from './coordinator-actor.ts';
import type { Coverage } from './coverage.ts';
import { type Machines, productionMachines } from './machines.ts';
import { identityOf } from './people.ts';
import { drawScenario } from './scenario.ts';
import { createVirtualTime } from './virtual-time.ts';

/** What actors see of their world. */
export interface World {
  readonly clock: Clock;
  readonly machines: Machines;
  readonly coverage: Coverage;
  /** How rounds are divided; null where they are complete graphs. */
  readonly grouping: Grouping | null;
  readonly clients: readonly ClientActor[];
  sendUp(from: number, roundHash: Digest, message: Upward): void;
  sendDown(to: ClientActor, roundHash: Digest, event: ClientAttemptEvent): void;
  sendTerms(to: ClientActor, terms: AttemptTerms): void;
}

/** Events after which a world is stuck: no world of a seed comes near it. */
const eventsMax = 50_000;

/**
 * Runs the world of `simulationSeed` to its end and adds what it saw to `coverage`.
 *
 * @throws RuleBroken, with the seed in its message, when a rule does not hold.
 */
export function runWorld(simulationSeed: number, coverage: Coverage, machines: Machines = productionMachines): void {
  try {
    runToEnd(simulationSeed, coverage, machines);
  } catch (error) {
    if (!(error instanceof RuleBroken)) throw error;
    throw new RuleBroken(
      error.rule,
      `${error.message.slice(error.rule.length + 2)}; npm run simulate -- --seed ${simulationSeed}`,
    );
  }
}

function runToEnd(simulationSeed: number, coverage: Coverage, machines: Machines): void {
  const random = seededRandom(simulationSeed, 'world');
  const scenario = drawScenario(random.fork('scenario'));
  const time = createVirtualTime();
  const { clock } = time;
  const faults = createFaults(scenario.faults, random.fork('faults'));
  const network = createNetwork(clock, faults);
  const key = identityOf('coordinator');
  const clients: ClientActor[] = [];
  const honest = new Set<ClientId>();
  const checker = createClientChecker((client) => honest.has(client));
  // One frame for everybody, opened once: the same bytes have the same signature.
  const sealed = new WeakMap<StageEvent, Uint8Array>();
  const opened = new Map<Digest, ReturnType<typeof openStage>>();
  const open = (frame: Uint8Array): ReturnType<typeof openStage> => {
    const digest = digestOf(frame);
    const stage = opened.get(digest) ?? openStage(key.publicKey, frame);
    opened.set(digest, stage);
    return stage;
  };

  const world: World = {
    clock,
    machines,
    coverage,
    grouping: scenario.grouping,
    clients,
    sendUp: (index, roundHash, { kind, body, signature, vector }) => {
      const from = clients[index]!;
      network.send({
        link: `${index} up`,
        parts: [body, signature, vector],
        deliver: ([body, signature, vector]) => {
          const message = { kind, body: body!, signature: signature!, vector: vector! };
          const isHeard = coordinator.hear(from, roundHash, message);
          if (isHeard && kind === 'UNMASK') from.hear(roundHash, { type: 'result' });
          return isHeard;
        },
      });
    },
    sendDown: (to, roundHash, event) => {
      const said = event as StageEvent;
      const frame = sealed.get(said) ?? sealStage(key, { roundHash, event: said });
      sealed.set(said, frame);
      network.send({
        link: `${to.index} down`,
        parts: [frame],
        deliver: ([bytes]) => {
          const stage = open(bytes!);
          if (!stage.ok) return true;
          const { roundHash: of, event: heard } = stage.value;
          return heard.type === 'open' || to.hear(of, heard);
        },
      });
    },
    sendTerms: (to, { roundIndex, roundHash }) => {
      network.send({
        link: `${to.index} down`,
        parts: [utf8(`${roundIndex}`), fromHex(roundHash)],
        deliver: ([index, hash]) =>
          toHex(hash!) === roundHash && new TextDecoder().decode(index) === `${roundIndex}`
            ? to.join({ roundIndex, roundHash })
            : true,
      });
    },
  };
  for (let index = 0; index < scenario.clientCount; index++) {
    const identity = identityOf(`client ${index}`);
    const name = scenario.hostileClients.get(index);
    const hostile = name === undefined ? null : hostileClient(name);
    if (hostile === null) honest.add(identity.clientId);
    else coverage.hostile.add(hostile.name);
    clients.push(
      createClientActor(world, { index, identity, hostile }, { faults, random: random.fork('client', index), checker }),
    );
  }
  const hostile =
    scenario.coordinator === null ? null : hostileCoordinator(scenario.coordinator, random.fork('hostile'));
  if (hostile !== null) coverage.hostile.add(hostile.name);
  const coordinator = createCoordinatorActor(world, { faults, random: random.fork('coordinator'), checker, hostile });

  let events = 0;
  const untilRoundEnds = (): void => {
    while (coordinator.roundEnd() === null) {
      check('liveness', time.runNext(), 'nothing is due and the round is not over');
      check('liveness', ++events < eventsMax, `${events} events, and no end`);
      check('bounded-queues', time.pending() < 120 * scenario.clientCount, `${time.pending()} actions are due`);
    }
  };
  for (let roundIndex = 0; roundIndex < scenario.roundCount; roundIndex++) {
    coordinator.startRound(roundIndex);
    untilRoundEnds();
  }
  // What is still on its way, timers and restarts; then a round in which nothing goes wrong.
  while (time.runNext()) check('liveness', ++events < eventsMax, `${events} events, and no end`);
  if (scenario.heals) healAndFinish();
  for (const [name, count] of faults.counts) coverage.faults.set(name, (coverage.faults.get(name) ?? 0) + count);
  coverage.worlds++;

  function healAndFinish(): void {
    faults.heal();
    coordinator.reform();
    for (const client of clients) client.revive();
    coordinator.startRound(scenario.roundCount);
    untilRoundEnds();
    const able = clients.filter((client) => client.hostile === null).length;
    if (able === clients.length) {
      check('liveness', coordinator.roundEnd() === 'opened', `the round after healing was ${coordinator.roundEnd()}`);
      check('liveness', !coordinator.isPartial(), 'a group was left out of the round after healing');
    }
    while (time.runNext()) check('liveness', ++events < eventsMax, `${events} events, and no end`);
  }
}
