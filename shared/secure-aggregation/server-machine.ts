/**
 * The coordinator's side of a masked round as a pure machine (security specification, section 2.6). It sees masked vectors only by their roots;
 * their sum is made elsewhere, and opened with what this machine collects. A client that is late has vanished: before its shares it takes
 * no part, before its vector its pairwise masks are taken out, afterwards its vector counts. Below the threshold nothing is opened.
 *
 * The first message of a kind stays; the same again is welcome, another one is refused and kept as evidence by its signature.
 */
import { equalBytes } from '../core/bytes.ts';
import type { ClientId } from '../core/ids.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { decodeCanonical, type Format } from '../protocol/canonical.ts';
import { type Violation, type ViolationCode, violation } from '../protocol/violations.ts';
import { bitmapOf } from './bitmap.ts';
import type { SignedKind } from './client-state.ts';
import { judgeEntry, judgeRoster, type Member, type Members, organisationsOf } from './members.ts';
import {
  agreeFormat,
  dealersHashOf,
  inputsRootOf,
  maskedFormat,
  type Shares,
  shareHashOf,
  sharesFormat,
  survivorsHashOf,
  unmaskFormat,
} from './messages.ts';
import { openSecrets } from './opening.ts';
import type {
  ServerEffect,
  ServerEvent,
  ServerPhase,
  ServerSetting,
  ServerState,
  ServerStep,
  SignedBody,
} from './server-state.ts';
import { legalServerEvents, shareKindOf } from './server-state.ts';
import { thresholdsOf } from './threshold.ts';

type Phase<Name extends ServerPhase['name']> = Extract<ServerPhase, { readonly name: Name }>;
type Event<Type extends ServerEvent['type']> = Extract<ServerEvent, { readonly type: Type }>;
type Said = Event<'advert' | 'shares' | 'masked' | 'agree' | 'unmask'>;

/** Begins an attempt: waits for the keys of those who are invited. */
export function openAttempt(setting: ServerSetting): ServerState {
  return { setting, phase: { name: 'advertising', adverts: new Map() } };
}

/** Takes one event. Never throws on what a peer sends. */
export function receiveAsServer(state: ServerState, event: ServerEvent): ServerStep {
  const { phase } = state;
  if (!legalServerEvents[phase.name].includes(event.type)) {
    if (!('clientId' in event)) return { state, effects: [] };
    return reject(state, event.clientId, 'unexpected-event', `${event.type} is not expected while ${phase.name}`);
  }
  if (event.type === 'abandon') return abort(state, event.reason);
  const isLate = event.type === 'deadline';
  const heard: Result<ServerPhase, Violation> = isLate ? succeed(phase) : hear(state, event);
  if (!heard.ok)
    return { state, effects: [{ type: 'reject', clientId: (event as Said).clientId, reason: heard.error }] };
  // The same message again changes nothing, and its sender is answered as before.
  if (!isLate && heard.value === phase) return { state, effects: [] };
  const next = advance({ ...state, phase: heard.value }, isLate);
  return { state: next.state, effects: [{ type: 'persist', event }, ...next.effects] };
}

function reject(state: ServerState, clientId: ClientId, code: ViolationCode, detail: string): ServerStep {
  return { state, effects: [{ type: 'reject', clientId, reason: violation(code, detail) }] };
}

function abort(state: ServerState, reason: Violation): ServerStep {
  return { state: { ...state, phase: { name: 'aborted', reason } }, effects: [{ type: 'aborted', reason }] };
}

/** The phase with what a client says, the very same phase when it said so before, or why it is refused. */
function hear(state: ServerState, event: Said): Result<ServerPhase, Violation> {
  const { phase } = state;
  switch (phase.name) {
    case 'advertising':
      return hearAdvert(state.setting, phase, event as Event<'advert'>);
    case 'sharing':
      return hearShares(phase, event);
    case 'collecting':
      return hearMasked(phase, event);
    case 'agreeing':
      return hearAgree(phase, event);
    case 'unmasking':
      return hearUnmask(phase, event);
    default:
      return succeed(phase);
  }
}

const fault = (code: ViolationCode, detail: string) => refuse(violation(code, detail));

function hearAdvert(
  setting: ServerSetting,
  phase: Phase<'advertising'>,
  event: Event<'advert'>,
): Result<ServerPhase, Violation> {
  const { clientId, body, signature, publicKey, certificate } = event;
  if (!setting.invited.includes(clientId)) return fault('not-in-cohort', 'this client was not asked to take part');
  const earlier = phase.adverts.get(clientId);
  if (earlier !== undefined)
    return equalBytes(earlier.body, body)
      ? succeed(phase)
      : fault('conflicting-update', 'this client sent other keys before');
  const judged = judgeEntry({ advert: body, signature, publicKey, certificate }, 0, setting);
  if (!judged.ok) return judged;
  if (judged.value.clientId !== clientId) return fault('wrong-sender', 'the keys are of another client');
  const adverts = new Map(phase.adverts).set(clientId, { body, signature, publicKey, certificate });
  return succeed({ ...phase, adverts });
}

/** The body of a member's message, its signature and its place checked. */
export function bodyOf<Body extends { readonly place: number }>(
  { members }: Members,
  { clientId, body, signature }: SignedBody & { readonly clientId: ClientId },
  kind: SignedKind | 'DRAW',
  format: Format<Body>,
): Result<{ readonly member: Member; readonly body: Body }, Violation> {
  const member = members.find((one) => one.clientId === clientId);
  if (member === undefined) return fault('not-in-cohort', 'this client is not on the roster');
  if (!verifyStrict(member.publicKey, kind, body, signature))
    return fault('wrong-signature', `${kind} is not signed by its sender`);
  const decoded = decodeCanonical(format, body, kind);
  if (!decoded.ok) return decoded;
  if (decoded.value.place !== member.place) return fault('wrong-sender', `${kind} names the place of another client`);
  return succeed({ member, body: decoded.value });
}

function hearShares(phase: Phase<'sharing'>, event: Said): Result<ServerPhase, Violation> {
  const { members, shares } = phase;
  const opened = bodyOf(members, event, 'SHARES', sharesFormat);
  if (!opened.ok) return opened;
  const { body, member } = opened.value;
  if (body.rosterHash !== members.rosterHash) return fault('bad-shares', 'the shares are of another roster');
  const holders = members.members.map(({ place }) => place).filter((place) => place !== member.place);
  if (body.dealt.map(({ holder }) => holder).join() !== holders.join())
    return fault('bad-shares', 'expected one box for every other place, in order');
  const earlier = shares.get(member.place);
  if (earlier !== undefined)
    return JSON.stringify(earlier) === JSON.stringify(body)
      ? succeed(phase)
      : fault('conflicting-update', 'this client dealt other shares before');
  return succeed({ ...phase, shares: new Map(shares).set(member.place, body) });
}

function hearMasked(phase: Phase<'collecting'>, event: Said): Result<ServerPhase, Violation> {
  const { members, shares, stored, dealersHash } = phase;
  const opened = bodyOf(members, event, 'MASKED', maskedFormat);
  if (!opened.ok) return opened;
  const { body, member } = opened.value;
  if (!shares.has(member.place)) return fault('not-in-cohort', 'this client dealt no shares');
  if (body.rosterHash !== members.rosterHash || body.dealersHash !== dealersHash)
    return fault('stale-round', 'the vector is masked for another set of dealers');
  const earlier = stored.get(member.place);
  if (earlier !== undefined)
    return earlier === body.vecRoot
      ? succeed(phase)
      : fault('conflicting-update', 'this client sent another vector before');
  return succeed({ ...phase, stored: new Map(stored).set(member.place, body.vecRoot) });
}

function hearAgree(phase: Phase<'agreeing'>, event: Said): Result<ServerPhase, Violation> {
  const { members, shares, consents, survivorsHash } = phase;
  const opened = bodyOf(members, event, 'AGREE', agreeFormat);
  if (!opened.ok) return opened;
  const { body, member } = opened.value;
  if (!shares.has(member.place)) return fault('not-in-cohort', 'this client dealt no shares');
  if (body.rosterHash !== members.rosterHash || body.survivorsHash !== survivorsHash)
    return fault('no-quorum', 'the consent is to other survivors');
  if (consents.has(member.place)) return succeed(phase);
  return succeed({ ...phase, consents: new Map(consents).set(member.place, event.signature) });
}

function hearUnmask(phase: Phase<'unmasking'>, event: Said): Result<ServerPhase, Violation> {
  const { members, shares, answers, survivors, survivorsHash } = phase;
  const opened = bodyOf(members, event, 'UNMASK', unmaskFormat);
  if (!opened.ok) return opened;
  const { body, member } = opened.value;
  if (answers.has(member.place)) return succeed(phase);
  if (body.survivorsHash !== survivorsHash) return fault('no-quorum', 'the shares are for other survivors');
  if (body.shares.map(({ dealer }) => dealer).join() !== [...shares.keys()].sort(ascending).join())
    return fault('bad-share', 'expected one entry for every dealer, in order');
  const given = new Map<number, Uint8Array>();
  for (const { dealer, share } of body.shares) {
    if (share === null) continue;
    const kind = shareKindOf(dealer, survivors);
    const pair = { dealer, holder: member.place };
    const committed = commitmentOf(shares.get(dealer)!, pair)[`${kind}Hash`];
    if (shareHashOf(members.rosterHash, pair, kind, share) !== committed)
      return fault('bad-share', `the share of place ${dealer} is not the one that was dealt to place ${member.place}`);
    given.set(dealer, share);
  }
  return succeed({ ...phase, answers: new Map(answers).set(member.place, given) });
}

/** The hashes to which a dealer committed for a holder. */
function commitmentOf({ dealt, own }: Shares, pair: { readonly dealer: number; readonly holder: number }) {
  if (pair.dealer === pair.holder) return own;
  return dealt[pair.holder < pair.dealer ? pair.holder : pair.holder - 1]!;
}

function ascending(left: number, right: number): number {
  return left - right;
}

/** Goes on when everybody answered, or at the deadline when enough did. */
function advance(state: ServerState, isLate: boolean): ServerStep {
  const { phase } = state;
  const stay: ServerStep = { state, effects: [] };
  switch (phase.name) {
    case 'advertising':
      return isLate || phase.adverts.size === state.setting.invited.length ? closeRoster(state, phase) : stay;
    case 'sharing':
      return isLate || phase.shares.size === phase.members.members.length ? deliver(state, phase) : stay;
    case 'collecting':
      return isLate || phase.stored.size === phase.shares.size ? closeSurvivors(state, phase) : stay;
    case 'agreeing':
      return isLate || phase.survivors.every((place) => phase.consents.has(place)) ? closeQuorum(state, phase) : stay;
    case 'unmasking':
      return isLate || isAnswered(state, phase) ? open(state, phase) : stay;
    default:
      return stay;
  }
}

function below(state: ServerState, what: string, found: number, least: number): ServerStep {
  return abort(state, violation('below-threshold', `expected at least ${least} ${what}, found ${found}`));
}

/** Fewest clients at any stage after the roster. */
function leastOf({ setting }: ServerState, { members }: Members): number {
  return Math.max(thresholdsOf(members.length, setting.profile).shares, setting.clientCountMin);
}

function closeRoster(state: ServerState, { adverts }: Phase<'advertising'>): ServerStep {
  const { clientCountMin } = state.setting;
  if (adverts.size < clientCountMin) return below(state, 'clients with keys', adverts.size, clientCountMin);
  const entries = [...adverts]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([, { body, ...rest }]) => ({ advert: body, ...rest }));
  const roster = { entries };
  const judged = judgeRoster(roster, state.setting);
  if (!judged.ok) return abort(state, judged.error);
  const members = judged.value;
  const phase: ServerPhase = { name: 'sharing', roster, members, shares: new Map() };
  return { state: { ...state, phase }, effects: [{ type: 'send-roster', roster, clients: clientsOf(members) }] };
}

function clientsOf({ members }: Members, places?: readonly number[]): ClientId[] {
  return members.filter(({ place }) => places === undefined || places.includes(place)).map(({ clientId }) => clientId);
}

function deliver(state: ServerState, { roster, members, shares }: Phase<'sharing'>): ServerStep {
  const least = leastOf(state, members);
  if (shares.size < least) return below(state, 'dealers', shares.size, least);
  const dealers = [...shares.keys()].sort(ascending);
  const bitmap = bitmapOf(dealers, members.members.length);
  const { rosterHash } = members;
  const dealersHash = dealersHashOf(rosterHash, bitmap);
  const effects = dealers.map((holder): ServerEffect => {
    const boxes = dealers
      .filter((dealer) => dealer !== holder)
      .map((dealer) => {
        const { box, maskHash, selfHash } = shares.get(dealer)!.dealt.find((one) => one.holder === holder)!;
        return { dealer, box, maskHash, selfHash };
      });
    const delivery = { rosterHash, dealers: bitmap, boxes };
    return { type: 'send-delivery', clientId: members.members[holder]!.clientId, delivery };
  });
  const phase: ServerPhase = { name: 'collecting', roster, members, shares, dealersHash, stored: new Map() };
  return { state: { ...state, phase }, effects };
}

function closeSurvivors(state: ServerState, phase: Phase<'collecting'>): ServerStep {
  const { stored, members, dealersHash } = phase;
  const least = leastOf(state, members);
  if (stored.size < least) return below(state, 'survivors', stored.size, least);
  const places = [...stored.keys()].sort(ascending);
  const organisationCount = organisationsOf(places.map((place) => members.members[place]!)).size;
  const { organisationCountMin } = state.setting;
  if (organisationCount < organisationCountMin)
    return below(state, 'organisations of survivors', organisationCount, organisationCountMin);
  const survivors = {
    rosterHash: members.rosterHash,
    survivors: bitmapOf(places, members.members.length),
    inputsRoot: inputsRootOf(places.map((place) => stored.get(place)!)),
  };
  const { roster, shares } = phase;
  const next: ServerPhase = {
    name: 'agreeing',
    ...{ roster, members, shares, dealersHash },
    survivors: places,
    survivorsHash: survivorsHashOf(dealersHash, survivors),
    consents: new Map(),
  };
  const clients = clientsOf(members, places);
  return { state: { ...state, phase: next }, effects: [{ type: 'send-survivors', survivors, clients }] };
}

function closeQuorum(state: ServerState, { consents, ...agreeing }: Phase<'agreeing'>): ServerStep {
  const { members, survivorsHash } = agreeing;
  const { quorum, shares } = thresholdsOf(members.members.length, state.setting.profile);
  const least = Math.max(quorum, shares);
  if (consents.size < least) return below(state, 'consents', consents.size, least);
  const signatures = [...consents]
    .sort(([left], [right]) => left - right)
    .map(([place, signature]) => ({ place, signature }));
  const clients = clientsOf(members, [...consents.keys()]);
  return {
    state: { ...state, phase: { ...agreeing, name: 'unmasking', answers: new Map() } },
    effects: [{ type: 'send-quorum', quorum: { survivorsHash, signatures }, clients }],
  };
}

/** Whether every dealer has shares enough. */
function isAnswered(state: ServerState, { members, shares, answers }: Phase<'unmasking'>): boolean {
  const least = thresholdsOf(members.members.length, state.setting.profile).shares;
  if (answers.size < least) return false;
  const given = [...answers.values()];
  return [...shares.keys()].every((dealer) => given.filter((one) => one.has(dealer)).length >= least);
}

/**
 * Ejects dealers of whom so many holders got no share that not all of them can be lying: more than may collude, and never on the word of
 * one. Such boxes prove nothing by themselves, and a dealer that is not ejected could void every round.
 */
function ejectShutBoxes(
  { setting }: ServerState,
  { members: { members }, shares, answers }: Phase<'unmasking'>,
): ServerEffect[] {
  const liarsMax = Math.max(1, thresholdsOf(members.length, setting.profile).colludersMax);
  return [...shares.keys()].flatMap((dealer) => {
    const without = [...answers.values()].filter((given) => !given.has(dealer)).length;
    if (without <= liarsMax) return [];
    const reason = violation('bad-dealer', `${without} holders got no share of place ${dealer}`);
    return [{ type: 'eject', clientId: members[dealer]!.clientId, reason }];
  });
}

function open(state: ServerState, phase: Phase<'unmasking'>): ServerStep {
  const { answers, ...agreeing } = phase;
  const { members, shares, survivors } = phase;
  const least = thresholdsOf(members.members.length, state.setting.profile).shares;
  if (!isAnswered(state, phase)) {
    const closed = below(state, 'holders of shares of every dealer', answers.size, least);
    return { ...closed, effects: [...ejectShutBoxes(state, phase), ...closed.effects] };
  }
  const opened = openSecrets({
    roundHash: state.setting.roundHash,
    members,
    shares,
    survivors,
    answers,
    threshold: least,
  });
  if ('dealer' in opened) {
    // Shares that match their dealer's own hashes give another secret than it committed to: its signatures prove it.
    const reason = violation('bad-dealer', `the shares of place ${opened.dealer} open nothing that it committed to`);
    const { clientId } = members.members[opened.dealer]!;
    const aborted = abort(state, reason);
    return { ...aborted, effects: [{ type: 'eject', clientId, reason }, ...aborted.effects] };
  }
  return {
    state: { ...state, phase: { ...agreeing, name: 'opened' } },
    effects: [{ type: 'open-sum', opening: { members, ...opened } }],
  };
}
