/**
 * The coordinator of a world: production's machine with a driver under virtual time. What the machine persists is a disk; a killed coordinator
 * comes back with nothing else. In the phases in which survivors are fixed it finishes the attempt, before that it begins another one under
 * new keys; a round whose shares were asked for without success is void.
 */
import { utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { SeededRandom } from '../../shared/core/random.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import type { GroupedServerEffect, GroupedServerEvent } from '../../shared/secure-aggregation/grouped-server.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../shared/secure-aggregation/mask.ts';
import { agreeFormat, maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import { addTo } from '../../shared/secure-aggregation/ring.ts';
import type { Opening, ServerEffect, ServerSetting } from '../../shared/secure-aggregation/server-state.ts';
import { type ClientAttemptEvent, hasGroups, isLegalForServer, type ServerAttempt } from '../checkers/attempts.ts';
import { check } from '../checkers/check.ts';
import type { ClientChecker } from '../checkers/client-checker.ts';
import { checkServerStep, checkSum, kindOfEvent } from '../checkers/server-checker.ts';
import type { Faults } from '../faults/faults.ts';
import type { HostileCoordinator } from '../faults/hostile-coordinator.ts';
import type { ClientActor, Upward } from './client-actor.ts';
import { stepServer } from './machines.ts';
import { certificateOf, judgeWorldCertificate, worldDim, worldVector } from './people.ts';
import { serverStrays, stopped } from './strays.ts';
import type { World } from './world.ts';

/** How an attempt ended; `lost` with the coordinator that ran it. */
export type AttemptEnd = 'opened' | 'aborted' | 'lost';

/** A coordinator of a world. */
export interface CoordinatorActor {
  /** Begins a round with everybody who is not ejected; its operator may stop it at any message. */
  startRound(roundIndex: number): void;
  hear(from: ClientActor, roundHash: Digest, message: Upward): boolean;
  /** Kills and restarts stop; whatever was hostile behaves. */
  reform(): void;
  readonly roundEnd: () => AttemptEnd | null;
  /** Whether some group of the opened round was left out. */
  readonly isPartial: () => boolean;
  readonly ejected: ReadonlySet<ClientId>;
}

/** What outlives a killed coordinator. */
interface Disk {
  readonly setting: ServerSetting;
  readonly roundIndex: number;
  readonly attempt: number;
  readonly events: GroupedServerEvent[];
  readonly vectors: Map<ClientId, Uint8Array>;
}

const phaseMs = 2_500;
const restartMs = 800;
const attemptsMax = 2;
/** A round ends by then: two attempts of six phases, every kill costs a restart and a phase. */
const roundMs = 2 * 6 * phaseMs + 20 * (restartMs + phaseMs);

const eventTypes = Object.keys(kindOfEvent) as (keyof typeof kindOfEvent)[];

/** A coordinator without a round. */
export function createCoordinatorActor(
  world: Pick<World, 'clock' | 'machines' | 'coverage' | 'grouping' | 'clients' | 'sendDown' | 'sendTerms'>,
  {
    faults,
    random,
    checker,
    hostile,
  }: { faults: Faults; random: SeededRandom; checker: ClientChecker; hostile: HostileCoordinator | null },
): CoordinatorActor {
  const { clock, machines, coverage, grouping, clients } = world;
  const ejected = new Set<ClientId>();
  /** Who kept its nonce back takes no part in the next attempt of a round. */
  const silent = new Set<ClientId>();
  const history = new Map<GroupedServerEvent['type'], GroupedServerEvent>();
  let isHostile = hostile !== null;
  let disk: Disk | null = null;
  let state: ServerAttempt | null = null;
  let end: AttemptEnd | null = 'aborted';
  let beganMs = 0;
  let cancelTimer = (): void => undefined;

  const actorOf = (clientId: ClientId): ClientActor => clients.find(({ identity }) => identity.clientId === clientId)!;
  const tell = (clientId: ClientId, event: ClientAttemptEvent): void => {
    const bent = isHostile ? hostile!.bend({ to: clientId, event }) : event;
    world.sendDown(actorOf(clientId), disk!.setting.roundHash, bent);
  };
  const kill = (): void => {
    if (state === null) return;
    cancelTimer();
    state = null;
    clock.after(restartMs, restart);
  };
  const open = (setting: ServerSetting): ServerAttempt =>
    grouping === null ? machines.openAttempt(setting) : machines.openGroupedAttempt({ ...setting, grouping });
  const begin = (roundIndex: number, attempt: number): void => {
    const invited = clients
      .map(({ identity }) => identity.clientId)
      .filter((id) => !ejected.has(id) && !silent.has(id));
    const roundHash = digestOf(utf8(`round ${roundIndex} attempt ${attempt}`));
    const setting: ServerSetting = {
      roundHash,
      profile: 'active',
      clientCountMin: 3,
      clientCountMax: 128,
      organisationCountMin: 3,
      judgeCertificate: judgeWorldCertificate,
      invited,
      vectorBytes: 4 * (worldDim + 2),
    };
    disk = { setting, roundIndex, attempt, events: [], vectors: new Map() };
    state = open(setting);
    for (const clientId of invited) world.sendTerms(actorOf(clientId), { roundIndex, roundHash });
    setDeadline();
  };
  const setDeadline = (): void => {
    cancelTimer();
    cancelTimer = clock.after(phaseMs, () => take({ type: 'deadline' }));
  };
  const finish = (how: AttemptEnd): void => {
    cancelTimer();
    end = how;
    coverage.attempts[how]++;
    const tookMs = clock.nowMs() - beganMs;
    check('liveness', tookMs <= roundMs, `round ${disk!.roundIndex} took ${tookMs} ms`);
  };
  const again = (): void => {
    const { roundIndex, attempt } = disk!;
    if (attempt >= attemptsMax) finish('lost');
    else begin(roundIndex, attempt + 1);
  };
  /** From the disk alone. */
  const restart = (): void => {
    const { setting, events, roundIndex, attempt } = disk!;
    state = open(setting);
    let last: readonly (ServerEffect | GroupedServerEffect)[] = [];
    for (const event of events) {
      const step = stepServer(machines, state, event);
      state = step.state;
      const telling = step.effects.filter(({ type }) => type !== 'persist' && type !== 'reject');
      if (telling.length > 0) last = telling;
    }
    const { name } = state.phase;
    const isOpenable = name === 'agreeing' || name === 'unmasking' || name === 'opened';
    coverage.restarts.add(name);
    if (isOpenable || name === 'aborted') {
      setDeadline();
      for (const effect of last) perform(effect);
    } else if (attempt >= attemptsMax) finish('lost');
    else begin(roundIndex, attempt + 1);
  };
  const openSum = (opening: Opening): void => {
    const { roundIndex, vectors } = disk!;
    const sum: MaskedVector = { coordinates: new Uint32Array(worldDim), tail: new Uint32Array(2) };
    const survivors = opening.survivors.map(({ place }) => opening.members.members[place]!.clientId);
    for (const clientId of survivors) {
      const words = new Uint32Array(Uint8Array.from(vectors.get(clientId)!).buffer);
      addTo(sum.coordinates, words.subarray(0, worldDim));
      addTo(sum.tail, words.subarray(worldDim));
    }
    for (const { seed, sign } of machines.masksToRemove(opening)) {
      applyMask(sum, seed, sign, 1);
      wipeSeed(seed);
    }
    checkSum(
      sum,
      survivors.map((clientId) => worldVector(actorOf(clientId).index, roundIndex)),
    );
  };
  const perform = (effect: ServerEffect | GroupedServerEffect): void => {
    switch (effect.type) {
      case 'persist':
        disk!.events.push(effect.event);
        break;
      case 'send-roster':
        for (const clientId of effect.clients) tell(clientId, { type: 'roster', roster: effect.roster });
        break;
      case 'send-delivery':
        tell(effect.clientId, { type: 'delivery', delivery: effect.delivery });
        break;
      case 'send-survivors':
        for (const clientId of effect.clients) tell(clientId, { type: 'survivors', survivors: effect.survivors });
        break;
      case 'send-drawn':
        for (const clientId of effect.clients) tell(clientId, { type: 'drawn', drawn: effect.drawn });
        break;
      case 'send-outcome':
        for (const clientId of effect.clients) tell(clientId, { type: 'outcome', outcome: effect.outcome });
        break;
      case 'send-quorum':
        for (const clientId of effect.clients) tell(clientId, { type: 'quorum', quorum: effect.quorum });
        break;
      case 'eject': {
        const { clientId, reason } = effect;
        // A nonce that is lost looks like one that is kept back.
        if (reason.code === 'bad-draw') silent.add(clientId);
        else {
          const isHostileClient = actorOf(clientId).hostile !== null;
          check('authenticity', isHostileClient, 'a client that follows the protocol is ejected');
          ejected.add(clientId);
        }
        break;
      }
      case 'leave-out':
        coverage.groups.leftOut++;
        break;
      case 'open-sum':
      case 'open-sums':
        if (effect.type === 'open-sum') openSum(effect.opening);
        else {
          for (const { opening } of effect.openings) openSum(opening);
          coverage.groups.opened += effect.openings.length;
          isPartial = effect.openings.length < effect.groupCount;
        }
        finish('opened');
        if (isHostile && hostile!.name === 'asks-again' && disk!.attempt < attemptsMax) again();
        break;
      case 'aborted':
        // Once shares were asked for, the number of the round is used up.
        if (wasUnmasking || effect.reason === stopped.reason || disk!.attempt >= attemptsMax) finish('aborted');
        else {
          coverage.attempts.aborted++;
          again();
        }
        break;
      case 'reject':
        break;
      default:
        effect satisfies never;
    }
  };
  let wasUnmasking = false;
  let isPartial = false;
  const take = (event: GroupedServerEvent): readonly (ServerEffect | GroupedServerEffect)[] => {
    const before = state!;
    (hasGroups(before) ? coverage.groupedServer : coverage.server).add(`${before.phase.name} x ${event.type}`);
    history.set(event.type, event);
    const step = stepServer(machines, before, event);
    checkServerStep(before, event, step, checker.isGenuine);
    state = step.state;
    wasUnmasking = before.phase.name === 'unmasking';
    const { name } = step.state.phase;
    if (name !== before.phase.name && name !== 'opened' && name !== 'aborted') setDeadline();
    for (const effect of step.effects) {
      const isAlive: boolean = state === step.state;
      if (!isAlive) break;
      perform(effect);
      if (effect.type === 'persist' && faults.strikes('killed-coordinator')) kill();
    }
    return step.effects;
  };
  /** What befalls a coordinator between two messages: its operator stops it, or something comes that nobody waits for; most of it when all is over. */
  const disturb = (): void => {
    if (state === null) return;
    const strays = serverStrays(clients[random.integer(clients.length)]!.identity.clientId);
    for (const made of strays) {
      const event = history.get(made.type) ?? made;
      if (random.uniform() < (end === null ? 0.025 : 0.25) && !isLegalForServer(state, event)) take(event);
    }
    if (end === null && !faults.isHealed() && random.uniform() < 0.008) take(stopped);
  };

  return {
    startRound: (roundIndex) => {
      end = null;
      isPartial = false;
      silent.clear();
      beganMs = clock.nowMs();
      begin(roundIndex, 1);
    },
    hear: (from, roundHash, { kind, body, signature, vector }) => {
      if (state === null) return false;
      if (disk!.setting.roundHash !== roundHash || (isHostile && hostile!.drops(from.index, kind))) return true;
      const { clientId, publicKey } = from.identity;
      const said = { clientId, body, signature };
      const type = eventTypes.find((one) => kindOfEvent[one] === kind)!;
      if (type === 'masked') {
        const masked = decodeCanonical(maskedFormat, body, 'M3');
        if (!masked.ok || masked.value.vecRoot !== digestOf(vector)) return true;
        if (!disk!.vectors.has(clientId)) disk!.vectors.set(clientId, vector);
      }
      const event: GroupedServerEvent =
        type === 'advert' ? { type, ...said, publicKey, certificate: certificateOf(from.index) } : { type, ...said };
      const effects = take(event);
      if (type === 'agree' && isHostile) {
        const agree = decodeCanonical(agreeFormat, body, 'M4');
        const isRefused = effects.some((effect) => effect.type === 'reject');
        const quorum = agree.ok ? hostile!.answerConsent(agree.value, signature, isRefused) : null;
        if (quorum !== null) world.sendDown(from, roundHash, { type: 'quorum', quorum });
      }
      disturb();
      if (faults.strikes('killed-coordinator')) kill();
      return true;
    },
    reform: () => {
      isHostile = false;
    },
    roundEnd: () => end,
    isPartial: () => isPartial,
    ejected,
  };
}
