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
import { violation } from '../../shared/protocol/violations.ts';
import type { ClientEvent } from '../../shared/secure-aggregation/client-state.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../shared/secure-aggregation/mask.ts';
import { agreeFormat, maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import { addTo } from '../../shared/secure-aggregation/ring.ts';
import type {
  Opening,
  ServerEffect,
  ServerEvent,
  ServerSetting,
  ServerState,
} from '../../shared/secure-aggregation/server-state.ts';
import { legalServerEvents } from '../../shared/secure-aggregation/server-state.ts';
import { check } from '../checkers/check.ts';
import type { ClientChecker } from '../checkers/client-checker.ts';
import { checkServerStep, checkSum } from '../checkers/server-checker.ts';
import type { Faults } from '../faults/faults.ts';
import type { HostileCoordinator } from '../faults/hostile-coordinator.ts';
import type { ClientActor, Upward } from './client-actor.ts';
import { certificateOf, judgeWorldCertificate, worldDim, worldVector } from './people.ts';
import type { World } from './world.ts';

/** How an attempt ended; `lost` with the coordinator that ran it. */
export type AttemptEnd = 'opened' | 'aborted' | 'lost';

/** A coordinator of a world. */
export interface CoordinatorActor {
  /** Begins a round with everybody who is not ejected; its operator may stop it. */
  startRound(roundIndex: number, stopsAfterMs: number | null): void;
  hear(from: ClientActor, roundHash: Digest, message: Upward): boolean;
  /** Kills and restarts stop; whatever was hostile behaves. */
  reform(): void;
  readonly roundEnd: () => AttemptEnd | null;
  readonly ejected: ReadonlySet<ClientId>;
}

/** What outlives a killed coordinator. */
interface Disk {
  readonly setting: ServerSetting;
  readonly roundIndex: number;
  readonly attempt: number;
  readonly events: ServerEvent[];
  readonly vectors: Map<ClientId, Uint8Array>;
}

const phaseMs = 2_500;
const restartMs = 800;
const attemptsMax = 2;
/** A round ends by then: two attempts of five phases, every kill costs a restart and a phase. */
const roundMs = 2 * 5 * phaseMs + 20 * (restartMs + phaseMs);

const stageTypes = { advert: 'ADVERT', shares: 'SHARES', masked: 'MASKED', agree: 'AGREE', unmask: 'UNMASK' } as const;
/** An operator stops a round. */
const stopped = { type: 'abandon', reason: violation('stale-round', 'stopped by its operator') } as const;
const eventTypes = Object.keys(stageTypes) as (keyof typeof stageTypes)[];

/** A coordinator without a round. */
export function createCoordinatorActor(
  world: Pick<World, 'clock' | 'machines' | 'coverage' | 'clients' | 'sendDown' | 'sendTerms'>,
  {
    faults,
    random,
    checker,
    hostile,
  }: { faults: Faults; random: SeededRandom; checker: ClientChecker; hostile: HostileCoordinator | null },
): CoordinatorActor {
  const { clock, machines, coverage, clients } = world;
  const ejected = new Set<ClientId>();
  const history = new Map<ServerEvent['type'], ServerEvent>();
  let isHostile = hostile !== null;
  let disk: Disk | null = null;
  let state: ServerState | null = null;
  let end: AttemptEnd | null = 'aborted';
  let beganMs = 0;
  let cancelTimer = (): void => undefined;

  const actorOf = (clientId: ClientId): ClientActor => clients.find(({ identity }) => identity.clientId === clientId)!;
  const tell = (clientId: ClientId, event: ClientEvent): void => {
    const bent = isHostile ? hostile!.bend({ to: clientId, event }) : event;
    world.sendDown(actorOf(clientId), disk!.setting.roundHash, bent);
  };
  const kill = (): void => {
    if (state === null) return;
    cancelTimer();
    state = null;
    clock.after(restartMs, restart);
  };
  const begin = (roundIndex: number, attempt: number): void => {
    const invited = clients.map(({ identity }) => identity.clientId).filter((id) => !ejected.has(id));
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
    state = machines.openAttempt(setting);
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
    state = machines.openAttempt(setting);
    let last: readonly ServerEffect[] = [];
    for (const event of events) {
      const step = machines.receiveAsServer(state, event);
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
  const perform = (effect: ServerEffect): void => {
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
      case 'send-quorum':
        for (const clientId of effect.clients) tell(clientId, { type: 'quorum', quorum: effect.quorum });
        break;
      case 'eject':
        check(
          'authenticity',
          actorOf(effect.clientId).hostile !== null,
          'a client that follows the protocol is ejected',
        );
        ejected.add(effect.clientId);
        break;
      case 'open-sum':
        openSum(effect.opening);
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
  const take = (event: ServerEvent): readonly ServerEffect[] => {
    const before = state!;
    coverage.server.add(`${before.phase.name} x ${event.type}`);
    history.set(event.type, event);
    const step = machines.receiveAsServer(before, event);
    checkServerStep(before.phase, event, step, checker.isGenuine);
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
  /** Sometimes a message of an earlier phase comes again, or one comes that nobody waits for. */
  const stray = (): void => {
    if (state === null) return;
    const types = [...eventTypes, 'deadline', 'abandon'] as const;
    const type = types[random.integer(types.length)]!;
    const event = history.get(type) ?? (type === 'abandon' ? stopped : type === 'deadline' ? { type } : undefined);
    if (event !== undefined && !legalServerEvents[state.phase.name].includes(type)) take(event);
  };

  return {
    startRound: (roundIndex, stopsAfterMs) => {
      end = null;
      beganMs = clock.nowMs();
      begin(roundIndex, 1);
      if (stopsAfterMs === null) return;
      clock.after(stopsAfterMs, () => {
        if (state !== null && end === null && disk!.roundIndex === roundIndex) take(stopped);
      });
    },
    hear: (from, roundHash, { kind, body, signature, vector }) => {
      if (state === null) return false;
      if (disk!.setting.roundHash !== roundHash || (isHostile && hostile!.drops(from.index, kind))) return true;
      const { clientId, publicKey } = from.identity;
      const said = { clientId, body, signature };
      const type = eventTypes.find((one) => stageTypes[one] === kind)!;
      if (type === 'masked') {
        const masked = decodeCanonical(maskedFormat, body, 'M3');
        if (!masked.ok || masked.value.vecRoot !== digestOf(vector)) return true;
        if (!disk!.vectors.has(clientId)) disk!.vectors.set(clientId, vector);
      }
      const event: ServerEvent =
        type === 'advert' ? { type, ...said, publicKey, certificate: certificateOf(from.index) } : { type, ...said };
      const effects = take(event);
      if (type === 'agree' && isHostile) {
        const agree = decodeCanonical(agreeFormat, body, 'M4');
        const isRefused = effects.some((effect) => effect.type === 'reject');
        const quorum = agree.ok ? hostile!.answerConsent(agree.value, signature, isRefused) : null;
        if (quorum !== null) world.sendDown(from, roundHash, { type: 'quorum', quorum });
      }
      if (state !== null && random.uniform() < 0.2) stray();
      if (faults.strikes('killed-coordinator')) kill();
      return true;
    },
    reform: () => {
      isHostile = false;
    },
    roundEnd: () => end,
    ejected,
  };
}
