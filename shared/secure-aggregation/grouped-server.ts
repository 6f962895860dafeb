/**
 * The coordinator's side of a masked round that is divided into groups (security specification, section 4.3): the roster by the machine of a
 * complete graph, the nonces from which everybody draws the same groups, one such machine for every group, and between them one consent of the whole
 * roster to the survivors of all groups. Groups go on at their own pace up to that consent; a deadline is for those that are behind.
 *
 * A group that falls below its threshold, before the consent or after it, opens nothing and is left out; the round goes on as long as the other
 * groups have the round's fewest clients together.
 */
import { assert } from '../core/assert.ts';
import type { ClientId, Digest } from '../core/ids.ts';
import { type Result, refuse, succeed } from '../core/result.ts';
import { type Violation, type ViolationCode, violation } from '../protocol/violations.ts';
import { divide, drawCommitmentOf, drawSeedOf, type Group, type Grouping } from './division.ts';
import type { Members } from './members.ts';
import {
  agreeFormat,
  type Drawn,
  drawFormat,
  noGroup,
  type Outcome,
  outcomeHashOf,
  type Roster,
  type Survivors,
} from './messages.ts';
import { bodyOf, openAttempt, receiveAsServer } from './server-machine.ts';
import type {
  Opening,
  ServerEffect,
  ServerEvent,
  ServerPhase,
  ServerSetting,
  ServerState,
  SignedBody,
} from './server-state.ts';
import { quorumOf } from './threshold.ts';

/** What happens to an attempt with groups. */
export type GroupedServerEvent =
  | ServerEvent
  /** M1b. */
  | ({ readonly type: 'draw'; readonly clientId: ClientId } & SignedBody);

/** What an attempt with groups is made with; `clientCountMin` and `clientCountMax` are of the whole roster, organisations of every group. */
export interface GroupedServerSetting extends Omit<ServerSetting, 'isDivided'> {
  readonly grouping: Grouping;
}

/** One group: who is in it, where its machine stands, and what its members were told of its survivors. */
export interface GroupState extends Group {
  readonly inner: ServerState;
  readonly survivors: Survivors | null;
  readonly opening: Opening | null;
}

interface Divided {
  readonly whole: Members;
  readonly groups: readonly GroupState[];
}

/** Where an attempt stands; every phase holds only its own fields. */
export type GroupedServerPhase =
  | { readonly name: 'advertising'; readonly inner: ServerState }
  | {
      readonly name: 'drawing';
      readonly roster: Roster;
      readonly whole: Members;
      /** By place. */
      readonly nonces: ReadonlyMap<number, Uint8Array>;
    }
  /** Named for the group that is farthest behind. */
  | ({ readonly name: 'sharing' } & Divided)
  | ({ readonly name: 'collecting' } & Divided)
  | ({
      readonly name: 'agreeing';
      readonly outcomeHash: Digest;
      /** By place on the roster. */
      readonly consents: ReadonlyMap<number, Uint8Array>;
    } & Divided)
  | ({ readonly name: 'unmasking' } & Divided)
  | ({ readonly name: 'opened' } & Divided)
  | { readonly name: 'aborted'; readonly reason: Violation };

/** A whole attempt. */
export interface GroupedServerState {
  readonly setting: GroupedServerSetting;
  readonly phase: GroupedServerPhase;
}

/** The masks to take off the sum of one group. */
export interface GroupOpening {
  readonly group: number;
  readonly opening: Opening;
}

/** What the driver must do, in order. */
export type GroupedServerEffect =
  | Exclude<ServerEffect, { readonly type: 'persist' | 'send-survivors' | 'open-sum' }>
  /** Make this message durable before anything that follows. */
  | { readonly type: 'persist'; readonly event: GroupedServerEvent }
  | { readonly type: 'send-drawn'; readonly drawn: Drawn; readonly clients: readonly ClientId[] }
  | { readonly type: 'send-outcome'; readonly outcome: Outcome; readonly clients: readonly ClientId[] }
  /** A group opens nothing. */
  | { readonly type: 'leave-out'; readonly group: number; readonly reason: Violation }
  /** Sums of the groups that open, ascending; the secrets belong to whoever gets the effect. */
  | { readonly type: 'open-sums'; readonly openings: readonly GroupOpening[]; readonly groupCount: number };

/** The next state and what to do, in order. */
export interface GroupedServerStep {
  readonly state: GroupedServerState;
  readonly effects: readonly GroupedServerEffect[];
}

type Phase<Name extends GroupedServerPhase['name']> = Extract<GroupedServerPhase, { readonly name: Name }>;
type Said = Extract<GroupedServerEvent, SignedBody>;
type DividedPhase = Extract<GroupedServerPhase, Divided>;

/** Legal pairs of phase and event; within a group the table of its machine decides as well. */
export const legalGroupedServerEvents: Readonly<
  Record<GroupedServerPhase['name'], readonly GroupedServerEvent['type'][]>
> = {
  advertising: ['advert', 'deadline', 'abandon'],
  drawing: ['draw', 'deadline', 'abandon'],
  sharing: ['shares', 'masked', 'deadline', 'abandon'],
  collecting: ['masked', 'deadline', 'abandon'],
  agreeing: ['agree', 'deadline', 'abandon'],
  unmasking: ['unmask', 'deadline', 'abandon'],
  opened: ['unmask'],
  aborted: [],
};

/** Begins an attempt: waits for the keys of those who are invited. */
export function openGroupedAttempt(setting: GroupedServerSetting): GroupedServerState {
  return { setting, phase: { name: 'advertising', inner: openAttempt({ ...setting, isDivided: true }) } };
}

/** Takes one event. Never throws on what a peer sends. */
export function receiveAsGroupedServer(state: GroupedServerState, event: GroupedServerEvent): GroupedServerStep {
  const { phase } = state;
  if (!legalGroupedServerEvents[phase.name].includes(event.type)) {
    if (!('clientId' in event)) return { state, effects: [] };
    const reason = violation('unexpected-event', `${event.type} is not expected while ${phase.name}`);
    return { state, effects: [{ type: 'reject', clientId: event.clientId, reason }] };
  }
  if (event.type === 'abandon') return abort(state, event.reason);
  switch (phase.name) {
    case 'advertising':
      return advertise(state, phase, event);
    case 'drawing':
      return event.type === 'deadline'
        ? after(event, closeDrawing(state, phase, true))
        : hear(state, event as Said, hearDraw(state, phase, event as Said), (next) =>
            closeDrawing(next.state, next.phase),
          );
    case 'agreeing':
      return event.type === 'deadline'
        ? after(event, closeConsent(state, phase, true))
        : hear(state, event as Said, hearAgree(phase, event as Said), (next) => closeConsent(next.state, next.phase));
    case 'sharing':
    case 'collecting':
    case 'unmasking':
    case 'opened':
      return inGroups(state, phase, event);
    default:
      return { state, effects: [] };
  }
}

function abort(state: GroupedServerState, reason: Violation): GroupedServerStep {
  const { phase } = state;
  if ('groups' in phase) for (const { opening } of phase.groups) wipe(opening);
  return { state: { ...state, phase: { name: 'aborted', reason } }, effects: [{ type: 'aborted', reason }] };
}

function wipe(opening: Opening | null): void {
  for (const { secret } of [...(opening?.survivors ?? []), ...(opening?.vanished ?? [])]) secret.fill(0);
}

function below(state: GroupedServerState, what: string, found: number, least: number): GroupedServerStep {
  return abort(state, violation('below-threshold', `expected at least ${least} ${what}, found ${found}`));
}

/** `step` behind an event that has to be durable before it. */
function after(event: GroupedServerEvent, step: GroupedServerStep): GroupedServerStep {
  return { state: step.state, effects: [{ type: 'persist', event }, ...step.effects] };
}

/** What was heard as the next phase, or refused; the very same phase says that it was heard before. */
function hear<Heard extends GroupedServerPhase>(
  state: GroupedServerState,
  event: Said,
  heard: Result<Heard, Violation>,
  goOn: (next: { readonly state: GroupedServerState; readonly phase: Heard }) => GroupedServerStep,
): GroupedServerStep {
  if (!heard.ok) return { state, effects: [{ type: 'reject', clientId: event.clientId, reason: heard.error }] };
  if (heard.value === state.phase) return { state, effects: [] };
  return after(event, goOn({ state: { ...state, phase: heard.value }, phase: heard.value }));
}

const fault = (code: ViolationCode, detail: string) => refuse(violation(code, detail));

/** Bytes that a roster may have: it is one message. */
const rosterBytesMax = 850_000;

function rosterBytes({ entries }: Roster): number {
  return entries.reduce((sum, { advert, certificate }) => sum + advert.length + certificate.length + 128, 0);
}

/** M1: the roster is that of the machine of a complete graph. */
function advertise(
  state: GroupedServerState,
  phase: Phase<'advertising'>,
  event: GroupedServerEvent,
): GroupedServerStep {
  const { state: inner, effects } = receiveAsServer(phase.inner, event as ServerEvent);
  const passed = effects as readonly GroupedServerEffect[];
  if (inner.phase.name === 'aborted') return { state: { ...state, phase: inner.phase }, effects: passed };
  if (inner.phase.name !== 'sharing') return { state: { ...state, phase: { ...phase, inner } }, effects: passed };
  const { roster, members: whole } = inner.phase;
  if (rosterBytes(roster) > rosterBytesMax) {
    const detail = `keys and certificates of ${roster.entries.length} clients do not fit one message`;
    return abort(state, violation('bad-roster', detail));
  }
  return { state: { ...state, phase: { name: 'drawing', roster, whole, nonces: new Map() } }, effects: passed };
}

function hearDraw(
  { setting }: GroupedServerState,
  phase: Phase<'drawing'>,
  event: Said,
): Result<Phase<'drawing'>, Violation> {
  const { whole, nonces } = phase;
  const opened = bodyOf(whole, event, 'DRAW', drawFormat);
  if (!opened.ok) return opened;
  const { member, body } = opened.value;
  if (body.rosterHash !== whole.rosterHash) return fault('bad-draw', 'the nonce is for another roster');
  if (drawCommitmentOf(setting.roundHash, member.clientId, body.nonce) !== member.advert.draw)
    return fault('bad-draw', 'the nonce is not the one that its client committed to');
  if (nonces.has(member.place)) return succeed(phase);
  return succeed({ ...phase, nonces: new Map(nonces).set(member.place, body.nonce) });
}

/** Divides the roster once all nonces are there. Who keeps one back could choose among divisions: the attempt ends, and goes on without it. */
function closeDrawing(state: GroupedServerState, phase: Phase<'drawing'>, isLate = false): GroupedServerStep {
  const { roster, whole, nonces } = phase;
  const { setting } = state;
  const silent = whole.members.filter(({ place }) => !nonces.has(place));
  if (silent.length > 0) {
    if (!isLate) return { state, effects: [] };
    const reason = violation(
      'bad-draw',
      `${silent.length} of ${whole.members.length} clients did not open their nonce`,
    );
    const aborted = abort(state, reason);
    const ejected = silent.map(({ clientId }) => ({ type: 'eject', clientId, reason }) as const);
    return { state: aborted.state, effects: [...ejected, ...aborted.effects] };
  }
  const inOrder = whole.members.map(({ place }) => nonces.get(place)!);
  const { organisationCountMin, grouping } = setting;
  const divided = divide(whole, drawSeedOf(whole.rosterHash, inOrder), { ...grouping, organisationCountMin });
  if (!divided.ok) return abort(state, divided.error);
  const groups = divided.value.map(({ members, places }): GroupState => {
    const invited = members.members.map(({ clientId }) => clientId);
    const own: ServerSetting = { ...setting, clientCountMin: grouping.clientCountMin, invited };
    const entries = places.map((place) => roster.entries[place]!);
    const inner: ServerPhase = { name: 'sharing', roster: { entries }, members, shares: new Map() };
    return { members, places, inner: { setting: own, phase: inner }, survivors: null, opening: null };
  });
  const clients = whole.members.map(({ clientId }) => clientId);
  return {
    state: { ...state, phase: { name: 'sharing', whole, groups } },
    effects: [{ type: 'send-drawn', drawn: { rosterHash: whole.rosterHash, nonces: inOrder }, clients }],
  };
}

/** An event of one group, or a deadline for all that are behind. */
function inGroups(
  state: GroupedServerState,
  phase: Exclude<DividedPhase, { name: 'agreeing' }>,
  event: GroupedServerEvent,
): GroupedServerStep {
  const effects: GroupedServerEffect[] = [];
  let groups = phase.groups;
  if (event.type === 'deadline') effects.push({ type: 'persist', event });
  const concerned = groups.filter(({ inner, members }) =>
    'clientId' in event
      ? members.members.some(({ clientId }) => clientId === event.clientId)
      : inner.phase.name === phase.name,
  );
  if (concerned.length === 0 && 'clientId' in event) {
    const reason = violation('not-in-cohort', 'this client is not on the roster');
    return { state, effects: [{ type: 'reject', clientId: event.clientId, reason }] };
  }
  for (const group of concerned) {
    const step = receiveAsServer(group.inner, event as ServerEvent);
    let next: GroupState = { ...group, inner: step.state };
    const index = phase.groups.indexOf(group);
    for (const effect of step.effects) {
      if (effect.type === 'send-survivors') next = { ...next, survivors: effect.survivors };
      else if (effect.type === 'open-sum') next = { ...next, opening: effect.opening };
      else if (effect.type === 'aborted') effects.push({ type: 'leave-out', group: index, reason: effect.reason });
      else if (effect.type !== 'persist' || event.type !== 'deadline') effects.push(effect);
    }
    groups = groups.map((one) => (one === group ? next : one));
  }
  const step = advance({ ...state, phase: { ...phase, groups } });
  return { state: step.state, effects: [...effects, ...step.effects] };
}

const stages = ['sharing', 'collecting', 'agreeing'] as const;

/** Goes on when no group is behind any more. */
function advance(state: GroupedServerState): GroupedServerStep {
  const { phase } = state;
  if (phase.name === 'unmasking') {
    const isBusy = phase.groups.some(({ inner }) => inner.phase.name === 'unmasking');
    return isBusy ? { state, effects: [] } : closeRound(state, phase);
  }
  if (phase.name !== 'sharing' && phase.name !== 'collecting') return { state, effects: [] };
  const behind = stages.find((stage) => phase.groups.some(({ inner }) => inner.phase.name === stage)) ?? 'agreeing';
  if (behind !== 'agreeing') return { state: { ...state, phase: { ...phase, name: behind } }, effects: [] };
  return closeGroups(state, phase);
}

/** Survivors of the groups that are not left out. */
function survivorsOf(groups: readonly GroupState[]): number {
  return groups.reduce((sum, { inner }) => sum + ('survivors' in inner.phase ? inner.phase.survivors.length : 0), 0);
}

/** Every group has its survivors, or is left out: asks the whole roster for its consent. */
function closeGroups(state: GroupedServerState, { whole, groups }: Divided): GroupedServerStep {
  const { clientCountMin } = state.setting;
  const found = survivorsOf(groups);
  if (found < clientCountMin) return below(state, 'survivors in the groups that are left', found, clientCountMin);
  const { rosterHash } = whole;
  const hashes = groups.map(({ inner }) => (inner.phase.name === 'agreeing' ? inner.phase.survivorsHash : noGroup));
  const effects = groups.map(({ inner, members, survivors }): GroupedServerEffect => {
    const clientsAt = (places: readonly number[]) => places.map((place) => members.members[place]!.clientId);
    const { phase } = inner;
    const isLeft = phase.name === 'agreeing';
    const outcome: Outcome = { rosterHash, groups: hashes, own: isLeft ? survivors : null };
    // Who is left out with its group consents as well: a quorum is one of the whole roster.
    return { type: 'send-outcome', outcome, clients: isLeft ? clientsAt(phase.survivors) : inner.setting.invited };
  });
  const outcomeHash = outcomeHashOf({ rosterHash, groups: hashes });
  return { state: { ...state, phase: { name: 'agreeing', whole, groups, outcomeHash, consents: new Map() } }, effects };
}

function hearAgree(phase: Phase<'agreeing'>, event: Said): Result<Phase<'agreeing'>, Violation> {
  const { whole, outcomeHash, consents } = phase;
  const opened = bodyOf(whole, event, 'AGREE', agreeFormat);
  if (!opened.ok) return opened;
  const { body, member } = opened.value;
  if (body.rosterHash !== whole.rosterHash || body.survivorsHash !== outcomeHash)
    return fault('no-quorum', 'the consent is to another outcome');
  if (consents.has(member.place)) return succeed(phase);
  return succeed({ ...phase, consents: new Map(consents).set(member.place, event.signature) });
}

/** Places on the roster of the survivors of a group whose consent is awaited. */
export function survivorsAt({ inner, places }: GroupState): number[] {
  return inner.phase.name === 'agreeing' ? inner.phase.survivors.map((place) => places[place]!) : [];
}

/** Opens what a quorum consented to, once all survivors answered, or at the deadline. */
function closeConsent(state: GroupedServerState, phase: Phase<'agreeing'>, isLate = false): GroupedServerStep {
  const { whole, groups, outcomeHash, consents } = phase;
  const least = Math.max(1, quorumOf(whole.members.length, state.setting.profile));
  const survivors = groups.flatMap(survivorsAt);
  const isComplete = consents.size >= least && survivors.every((place) => consents.has(place));
  if (!isComplete && !isLate) return { state, effects: [] };
  if (consents.size < least) return below(state, 'consents', consents.size, least);
  const signatures = [...consents]
    .sort(([left], [right]) => left - right)
    .map(([place, signature]) => ({ place, signature }));
  const opening = groups.map((group): GroupState => {
    const { inner } = group;
    if (inner.phase.name !== 'agreeing') return group;
    const { consents: _, ...agreeing } = inner.phase;
    return { ...group, inner: { ...inner, phase: { ...agreeing, name: 'unmasking', answers: new Map() } } };
  });
  const clients = survivors.filter((place) => consents.has(place)).map((place) => whole.members[place]!.clientId);
  return {
    state: { ...state, phase: { name: 'unmasking', whole, groups: opening } },
    effects: [{ type: 'send-quorum', quorum: { survivorsHash: outcomeHash, signatures }, clients }],
  };
}

/** Every group is open, or left out. */
function closeRound(state: GroupedServerState, { whole, groups }: Phase<'unmasking'>): GroupedServerStep {
  const openings = groups.flatMap(({ opening }, group) => (opening === null ? [] : [{ group, opening }]));
  const found = openings.reduce((sum, { opening }) => sum + opening.survivors.length, 0);
  const { clientCountMin } = state.setting;
  if (found < clientCountMin) return below(state, 'survivors in the groups that open', found, clientCountMin);
  assert(openings.length > 0, 'fewest clients are in some group');
  const kept = groups.map((group) => ({ ...group, opening: null }));
  return {
    state: { ...state, phase: { name: 'opened', whole, groups: kept } },
    effects: [{ type: 'open-sums', openings, groupCount: groups.length }],
  };
}
