/**
 * The client's side of a masked round that is divided into groups (security specification, section 4.3), around the machine of a complete graph
 * (`client-machine.ts`), which stays what it is within the group. What is added: nonces, from which the groups are drawn once the roster is
 * fixed, and one consent of the whole roster to the survivors of all groups. The consent is global because a third of a small group collude far more easily than
 * a third of the roster: no two outcomes find a quorum, so that no group opens both secrets of anybody.
 *
 * A group that fell below its threshold is left out: its members consent to that, and show nothing.
 */
import { assert } from '../core/assert.ts';
import type { Digest } from '../core/ids.ts';
import { encodeCanonical } from '../protocol/canonical.ts';
import { type Violation, type ViolationCode, violation } from '../protocol/violations.ts';
import { consentsTo, dealWithin, receiveAsClient, startAttempt } from './client-machine.ts';
import type { ClientEffect, ClientEvent, ClientSetting, ClientState, ClientStep } from './client-state.ts';
import { divide, drawCommitmentOf, drawSeedOf, type Group, type Grouping } from './division.ts';
import { isOwnEntry, judgeRoster, type Members } from './members.ts';
import {
  agreeFormat,
  type Drawn,
  drawFormat,
  noGroup,
  nonceBytes,
  type Outcome,
  outcomeHashOf,
  type Quorum,
  type Roster,
} from './messages.ts';
import { quorumOf } from './threshold.ts';

/** What an attempt with groups is made with; `clientCountMin` and `clientCountMax` are of the whole roster, organisations of every group. */
export interface GroupedClientSetting extends Omit<ClientSetting, 'draw'> {
  readonly grouping: Grouping;
}

/** What this machine signs itself; everything else is signed in its group. */
type SentKind = 'DRAW' | 'AGREE';

/** Where a client stands in the whole. */
interface Division {
  readonly whole: Members;
  /** Its place on the roster. */
  readonly place: number;
  readonly group: number;
  readonly groupCount: number;
}

/** Where an attempt stands; every phase holds only its own fields. `inner` is the machine within the group. */
export type GroupedClientPhase =
  /** Announces its keys, then waits for the roster. */
  | { readonly name: 'announcing'; readonly inner: ClientState; readonly nonce: Uint8Array }
  /** Waits for the signature of `body`, sends it, and goes on with `next`. */
  | { readonly name: 'signing'; readonly kind: SentKind; readonly body: Uint8Array; readonly next: WaitingPhase }
  | WaitingPhase
  /** Deals shares, masks and uploads in its group, then waits for the outcome. */
  | ({ readonly name: 'masking'; readonly inner: ClientState } & Division)
  /** Journals and shows shares. */
  | { readonly name: 'unmasking'; readonly inner: ClientState }
  | { readonly name: 'finished' }
  | { readonly name: 'aborted'; readonly reason: Violation };

/** A phase that waits for the coordinator after a message. */
type WaitingPhase =
  | { readonly name: 'drawn'; readonly inner: ClientState; readonly whole: Members; readonly place: number }
  | ({ readonly name: 'agreed'; readonly inner: ClientState; readonly outcomeHash: Digest } & Division)
  /** Its group opens nothing; the consent that was signed last ends the attempt. */
  | { readonly name: 'left-out' };

/** A whole attempt. */
export interface GroupedClientState {
  readonly setting: GroupedClientSetting;
  readonly phase: GroupedClientPhase;
}

/** What happens to an attempt. */
export type GroupedClientEvent =
  | Exclude<ClientEvent, { readonly type: 'survivors' }>
  | { readonly type: 'drawn'; readonly drawn: Drawn }
  | { readonly type: 'outcome'; readonly outcome: Outcome };

/** What the driver must do. */
export type GroupedClientEffect =
  | ClientEffect
  | { readonly type: 'sign'; readonly kind: 'DRAW'; readonly body: Uint8Array }
  | { readonly type: 'send'; readonly kind: 'DRAW'; readonly body: Uint8Array; readonly signature: Uint8Array };

/** The next state and what to do, in order. */
export interface GroupedClientStep {
  readonly state: GroupedClientState;
  readonly effects: readonly GroupedClientEffect[];
}

type Phase<Name extends GroupedClientPhase['name']> = Extract<GroupedClientPhase, { readonly name: Name }>;
type Event<Type extends GroupedClientEvent['type']> = Extract<GroupedClientEvent, { readonly type: Type }>;

/** Legal pairs of phase and event; within a group the table of its machine decides as well. */
export const legalGroupedClientEvents: Readonly<
  Record<GroupedClientPhase['name'], readonly GroupedClientEvent['type'][]>
> = {
  announcing: ['signed', 'roster', 'abandon'],
  signing: ['signed', 'abandon'],
  drawn: ['drawn', 'abandon'],
  masking: ['signed', 'delivery', 'vector-masked', 'outcome', 'abandon'],
  agreed: ['quorum', 'abandon'],
  'left-out': [],
  unmasking: ['journaled', 'signed', 'result', 'abandon'],
  finished: [],
  aborted: [],
};

/** Begins an attempt: fresh keys and a nonce, to which the announcement commits. */
export function startGroupedAttempt(setting: GroupedClientSetting): GroupedClientStep {
  const { grouping, ...own } = setting;
  const nonce = setting.entropy.bytes(nonceBytes);
  const draw = drawCommitmentOf(setting.roundHash, setting.clientId, nonce);
  const { state: inner, effects } = startAttempt({ ...own, clientCountMin: grouping.clientCountMin, draw });
  return { state: { setting, phase: { name: 'announcing', inner, nonce } }, effects };
}

/** Takes one event. Never throws on what a peer sends. */
export function receiveAsGroupedClient(state: GroupedClientState, event: GroupedClientEvent): GroupedClientStep {
  const { phase } = state;
  if (!legalGroupedClientEvents[phase.name].includes(event.type)) return unexpected(state, event);
  if (event.type === 'abandon') return abort(state, event.reason);
  switch (phase.name) {
    case 'announcing':
      return event.type === 'roster' ? draw(state, phase, event.roster) : within(state, phase, event as ClientEvent);
    case 'signing':
      return send(state, phase, event as Event<'signed'>);
    case 'drawn':
      return joinGroup(state, phase, (event as Event<'drawn'>).drawn);
    case 'masking':
      return event.type === 'outcome'
        ? consent(state, phase, event.outcome)
        : within(state, phase, event as ClientEvent);
    case 'agreed':
      return checkQuorum(state, phase, (event as Event<'quorum'>).quorum);
    case 'unmasking':
      return within(state, phase, event as ClientEvent);
    default:
      return { state, effects: [] };
  }
}

function unexpected(state: GroupedClientState, event: GroupedClientEvent): GroupedClientStep {
  const reason = violation('unexpected-event', `${event.type} is not expected while ${state.phase.name}`);
  return { state, effects: [{ type: 'report', reason }] };
}

/** Hands an event to the machine of the group; how that ends, the whole ends. */
function within(
  state: GroupedClientState,
  phase: Phase<'announcing' | 'masking' | 'unmasking'>,
  event: ClientEvent,
): GroupedClientStep {
  return after(state, receiveAsClient(phase.inner, event), (inner) => ({ ...phase, inner }));
}

function after(
  { setting }: GroupedClientState,
  { state: inner, effects }: ClientStep,
  phaseOf: (inner: ClientState) => GroupedClientPhase,
): GroupedClientStep {
  if (inner.phase.name === 'aborted') return { state: { setting, phase: inner.phase }, effects };
  if (inner.phase.name === 'finished') return { state: { setting, phase: { name: 'finished' } }, effects };
  return { state: { setting, phase: phaseOf(inner) }, effects };
}

function sign(state: GroupedClientState, kind: SentKind, body: Uint8Array, next: WaitingPhase): GroupedClientStep {
  const { setting } = state;
  return { state: { setting, phase: { name: 'signing', kind, body, next } }, effects: [{ type: 'sign', kind, body }] };
}

function send(state: GroupedClientState, phase: Phase<'signing'>, { signature }: Event<'signed'>): GroupedClientStep {
  const { kind, body, next } = phase;
  const sent: GroupedClientEffect = { type: 'send', kind, body, signature };
  if (next.name !== 'left-out') return { state: { ...state, phase: next }, effects: [sent] };
  const detail = 'too few members of the group are left: it opens nothing in this round';
  const ended = abort(state, violation('below-threshold', detail));
  return { state: ended.state, effects: [sent, ...ended.effects] };
}

/** Ends the attempt; nothing of it stays in memory. */
function abort({ setting, phase }: GroupedClientState, reason: Violation): GroupedClientStep {
  const held = phase.name === 'signing' ? phase.next : phase;
  if ('inner' in held) receiveAsClient(held.inner, { type: 'abandon', reason });
  if ('nonce' in held) held.nonce.fill(0);
  return { state: { setting, phase: { name: 'aborted', reason } }, effects: [{ type: 'aborted', reason }] };
}

function fail(state: GroupedClientState, code: ViolationCode, detail: string): GroupedClientStep {
  return abort(state, violation(code, detail));
}

/** R1: judges the roster and opens the nonce. */
function draw(state: GroupedClientState, phase: Phase<'announcing'>, roster: Roster): GroupedClientStep {
  const { inner, nonce } = phase;
  const announced = inner.phase;
  if (announced.name !== 'advertised') return unexpected(state, { type: 'roster', roster });
  const judged = judgeRoster(roster, { ...state.setting, isDivided: true });
  if (!judged.ok) return abort(state, judged.error);
  const whole = judged.value;
  const place = roster.entries.findIndex((entry) => isOwnEntry(entry, announced));
  if (place < 0) return fail(state, 'bad-roster', 'the roster does not show the keys that this client sent');
  const body = encodeCanonical(drawFormat, { rosterHash: whole.rosterHash, place, nonce });
  return sign(state, 'DRAW', body, { name: 'drawn', inner, whole, place });
}

/** R1b: everybody's nonce is the one that its M1 committed to; divides the roster, and deals shares in the own group. */
function joinGroup(state: GroupedClientState, phase: Phase<'drawn'>, drawn: Drawn): GroupedClientStep {
  const { inner, whole, place } = phase;
  const { roundHash, grouping, organisationCountMin } = state.setting;
  const { rosterHash, members } = whole;
  if (drawn.rosterHash !== rosterHash || drawn.nonces.length !== members.length)
    return fail(state, 'bad-draw', 'the nonces are of another roster');
  const liar = members.find(
    ({ advert, clientId }, index) => drawCommitmentOf(roundHash, clientId, drawn.nonces[index]!) !== advert.draw,
  );
  if (liar !== undefined) return fail(state, 'bad-draw', `place ${liar.place} committed to another nonce`);
  const divided = divide(whole, drawSeedOf(rosterHash, drawn.nonces), { ...grouping, organisationCountMin });
  if (!divided.ok) return abort(state, divided.error);
  const groups = divided.value;
  const group = groups.findIndex(({ places }) => places.includes(place));
  assert(group >= 0, 'everybody is in a group');
  const { members: own, places } = groups[group] as Group;
  if (places.length < grouping.clientCountMin)
    return fail(state, 'bad-roster', `expected groups of ${grouping.clientCountMin} members, found ${places.length}`);
  const division: Division = { whole, place, group, groupCount: groups.length };
  return after(state, dealWithin(inner, own, places.indexOf(place)), (dealing) => ({
    name: 'masking',
    inner: dealing,
    ...division,
  }));
}

/** R3: consents to the survivors of all groups, once; those of the own group are judged as those of a complete graph. */
function consent(state: GroupedClientState, phase: Phase<'masking'>, outcome: Outcome): GroupedClientStep {
  const { inner, whole, place, group, groupCount } = phase;
  const waits = inner.phase.name;
  if (waits !== 'shared' && waits !== 'masked') return unexpected(state, { type: 'outcome', outcome });
  const { rosterHash } = whole;
  if (outcome.rosterHash !== rosterHash || outcome.groups.length !== groupCount)
    return fail(state, 'bad-survivors', 'the survivors are of another roster');
  const isLeftOut = outcome.groups[group] === noGroup;
  if (isLeftOut !== (outcome.own === null))
    return fail(state, 'bad-survivors', 'the survivors of the own group are not those of the outcome');
  const survivorsHash = outcomeHashOf(outcome);
  const body = encodeCanonical(agreeFormat, { rosterHash, place, survivorsHash });
  if (outcome.own === null) {
    receiveAsClient(inner, { type: 'abandon', reason: violation('below-threshold', 'the group is left out') });
    return sign(state, 'AGREE', body, { name: 'left-out' });
  }
  if (waits !== 'masked') return fail(state, 'bad-survivors', 'this client has not sent its vector');
  const judged = receiveAsClient(inner, { type: 'survivors', survivors: outcome.own });
  const judgedPhase = judged.state.phase;
  if (judgedPhase.name !== 'signing' || judgedPhase.next.name !== 'agreed') return after(state, judged, () => phase);
  if (judgedPhase.next.survivorsHash !== outcome.groups[group])
    return fail(state, 'bad-survivors', 'the survivors of the own group are not those of the outcome');
  // What its members would sign in a complete graph is not signed: the consent to the outcome holds for it.
  const agreed: ClientState = { ...judged.state, phase: judgedPhase.next };
  const division: Division = { whole, place, group, groupCount };
  return sign(state, 'AGREE', body, { name: 'agreed', inner: agreed, outcomeHash: survivorsHash, ...division });
}

/** R4: enough different members of the whole roster consented to the very same outcome. */
function checkQuorum(state: GroupedClientState, phase: Phase<'agreed'>, quorum: Quorum): GroupedClientStep {
  const { inner, outcomeHash, whole, place } = phase;
  if (quorum.survivorsHash !== outcomeHash) return fail(state, 'no-quorum', 'the consents are to another outcome');
  const electors = whole.members.map((member) => member.place);
  const consenting = consentsTo(outcomeHash, quorum, whole, electors);
  const least = quorumOf(electors.length, state.setting.profile);
  if (consenting.size < least || (least > 0 && !consenting.has(place)))
    return fail(state, 'no-quorum', `expected ${least} consents, the own among them, found ${consenting.size}`);
  assert(inner.phase.name === 'agreed', 'the group waits for the quorum');
  const journaling: ClientState = { ...inner, phase: { ...inner.phase, name: 'journaling' } };
  return {
    state: { ...state, phase: { name: 'unmasking', inner: journaling } },
    effects: [{ type: 'journal', survivorsHash: outcomeHash }],
  };
}
