/**
 * The client's side of a masked round as a pure machine (Bonawitz 2017, figure 4, with the consistency check of its active variant; security
 * specification, sections 2.2 and 2.6). No edge leads back; whatever fails a check ends the attempt and zeroes its secrets, because a client
 * that goes on with half an answer may open what it must not.
 *
 * The rule that everything rests on: at most one unmasking per round number, in which every dealer occurs once, by its self share or by its
 * mask share, as a quorum of signed survivors decides; journalled before it is sent.
 */
import { assert } from '../core/assert.ts';
import type { Digest } from '../core/ids.ts';
import { agreementPublicKey } from '../crypto/key-agreement.ts';
import { verifyStrict } from '../crypto/verify.ts';
import { encodeCanonical } from '../protocol/canonical.ts';
import { type Violation, type ViolationCode, violation } from '../protocol/violations.ts';
import { placesOf } from './bitmap.ts';
import type {
  ClientEvent,
  ClientPhase,
  ClientSetting,
  ClientState,
  ClientStep,
  HeldShares,
  MaskToApply,
  SignedKind,
  WaitingPhase,
} from './client-state.ts';
import { legalClientEvents } from './client-state.ts';
import { dealShares, openShares } from './dealing.ts';
import { pairMaskSeed, pairSign, selfMaskSeed } from './mask.ts';
import { isOwnEntry, judgeRoster, type Members, organisationsOf } from './members.ts';
import {
  advertFormat,
  agreeFormat,
  type Delivery,
  dealersHashOf,
  maskedFormat,
  type Quorum,
  type Roster,
  type Survivors,
  secretBytes,
  selfCommitmentOf,
  sharesFormat,
  survivorsHashOf,
  unmaskFormat,
} from './messages.ts';
import { type Thresholds, thresholdsOf } from './threshold.ts';

type Phase<Name extends ClientPhase['name']> = Extract<ClientPhase, { readonly name: Name }>;
type Event<Type extends ClientEvent['type']> = Extract<ClientEvent, { readonly type: Type }>;

/** Begins an attempt: fresh keys, whose announcement is to be signed. */
export function startAttempt(setting: ClientSetting): ClientStep {
  const { entropy, roundHash, clientId, certificateHash, checkpoint } = setting;
  const secrets = {
    box: entropy.bytes(secretBytes),
    mask: entropy.bytes(secretBytes),
    self: entropy.bytes(secretBytes),
  };
  const advert = encodeCanonical(advertFormat, {
    roundHash,
    clientId,
    certificateHash,
    boxKey: agreementPublicKey(secrets.box),
    maskKey: agreementPublicKey(secrets.mask),
    selfCommitment: selfCommitmentOf(roundHash, clientId, secrets.self),
    checkpoint,
    draw: setting.draw ?? null,
  });
  return sign(setting, 'ADVERT', advert, { name: 'advertised', secrets, advert, signature: new Uint8Array(0) });
}

/** Takes one event. Never throws on what a peer sends. */
export function receiveAsClient(state: ClientState, event: ClientEvent): ClientStep {
  const { phase } = state;
  if (!legalClientEvents[phase.name].includes(event.type)) {
    const reason = violation('unexpected-event', `${event.type} is not expected while ${phase.name}`);
    return { state, effects: [{ type: 'report', reason }] };
  }
  if (event.type === 'abandon') return abort(state, event.reason);
  // The table leaves one event for every phase.
  switch (phase.name) {
    case 'signing':
      return send(state, phase, event as Event<'signed'>);
    case 'advertised':
      return deal(state, phase, (event as Event<'roster'>).roster);
    case 'shared':
      return takeShares(state, phase, (event as Event<'delivery'>).delivery);
    case 'masking':
      return announce(state, phase, event as Event<'vector-masked'>);
    case 'masked':
      return consent(state, phase, (event as Event<'survivors'>).survivors);
    case 'agreed':
      return checkQuorum(state, phase, (event as Event<'quorum'>).quorum);
    case 'journaling':
      return unmask(state, phase, event as Event<'journaled'>);
    default:
      return { state: { ...state, phase: { name: 'finished' } }, effects: [] };
  }
}

function sign(setting: ClientSetting, kind: SignedKind, body: Uint8Array, next: WaitingPhase): ClientStep {
  const phase: ClientPhase = { name: 'signing', kind, body, next };
  return { state: { setting, phase }, effects: [{ type: 'sign', kind, body }] };
}

function send({ setting }: ClientState, { kind, body, next }: Phase<'signing'>, event: Event<'signed'>): ClientStep {
  const { signature } = event;
  const phase = next.name === 'advertised' ? { ...next, signature } : next;
  return { state: { setting, phase }, effects: [{ type: 'send', kind, body, signature }] };
}

/** Ends the attempt; nothing of it stays in memory. */
function abort({ setting, phase }: ClientState, reason: Violation): ClientStep {
  wipe(phase.name === 'signing' ? phase.next : phase);
  return { state: { setting, phase: { name: 'aborted', reason } }, effects: [{ type: 'aborted', reason }] };
}

function fail(state: ClientState, code: ViolationCode, detail: string): ClientStep {
  return abort(state, violation(code, detail));
}

function wipe(phase: ClientPhase): void {
  if ('secrets' in phase) for (const secret of Object.values(phase.secrets)) secret.fill(0);
  if ('own' in phase) wipeShares(phase.own);
  if ('held' in phase) for (const shares of phase.held.values()) wipeShares(shares);
}

function wipeShares(shares: HeldShares): void {
  shares?.mask.fill(0);
  shares?.self.fill(0);
}

function thresholdsFor({ setting }: ClientState, { members }: Members): Thresholds {
  return thresholdsOf(members.length, setting.profile);
}

/** R1: judges the roster and deals shares of both secrets to everybody on it. */
function deal(state: ClientState, phase: Phase<'advertised'>, roster: Roster): ClientStep {
  const { setting } = state;
  const judged = judgeRoster(roster, setting);
  if (!judged.ok) return abort(state, judged.error);
  const place = roster.entries.findIndex((entry) => isOwnEntry(entry, phase));
  if (place < 0) return fail(state, 'bad-roster', 'the roster does not show the keys that this client sent');
  return dealWithin(state, judged.value, place);
}

/** Deals shares of both secrets of an attempt that is `advertised` to members who were judged, this client at `place` among them. */
export function dealWithin(state: ClientState, members: Members, place: number): ClientStep {
  const { setting, phase } = state;
  assert(phase.name === 'advertised', 'shares are dealt once, after the keys were announced');
  const { secrets } = phase;
  const threshold = thresholdsFor(state, members).shares;
  const { shares, own } = dealShares(members, place, { secrets, threshold, entropy: setting.entropy });
  const body = encodeCanonical(sharesFormat, shares);
  return sign(setting, 'SHARES', body, { name: 'shared', secrets, members, place, own });
}

/** R2: opens the boxes and derives the masks. */
function takeShares(state: ClientState, phase: Phase<'shared'>, delivery: Delivery): ClientStep {
  const { secrets, members, place, own } = phase;
  const { rosterHash } = members;
  const dealers = placesOf(delivery.dealers, members.members.length);
  if (delivery.rosterHash !== rosterHash || dealers === null)
    return fail(state, 'bad-delivery', 'the boxes are of another roster');
  const least = Math.max(thresholdsFor(state, members).shares, state.setting.clientCountMin);
  if (dealers.length < least || !dealers.includes(place))
    return fail(state, 'bad-delivery', `expected ${least} dealers, this client among them, found ${dealers.length}`);
  const expected = dealers.filter((dealer) => dealer !== place);
  if (delivery.boxes.map(({ dealer }) => dealer).join() !== expected.join())
    return fail(state, 'bad-delivery', 'expected one box of every dealer, in order');
  const held = new Map<number, HeldShares>([[place, own]]);
  for (const box of delivery.boxes) held.set(box.dealer, openShares(box, members, phase));
  const masks: MaskToApply[] = [{ seed: selfMaskSeed(secrets.self, rosterHash, place), sign: 1 }];
  for (const other of expected) {
    const seed = pairMaskSeed(secrets.mask, members.members[other]!.advert.maskKey, rosterHash, [place, other]);
    assert(seed !== null, 'a roster has no keys of low order');
    masks.push({ seed, sign: pairSign(place, other) });
  }
  const dealersHash = dealersHashOf(rosterHash, delivery.dealers);
  const next: ClientPhase = { name: 'masking', secrets, members, place, dealers, dealersHash, held };
  return { state: { ...state, phase: next }, effects: [{ type: 'mask-vector', masks }] };
}

/** M3: what is uploaded. The secrets are of no use any more: whatever is opened of them is opened by shares. */
function announce({ setting }: ClientState, phase: Phase<'masking'>, event: Event<'vector-masked'>): ClientStep {
  const { place, members, dealersHash } = phase;
  const { vecRoot, chunkDigests } = event;
  const { rosterHash } = members;
  const body = encodeCanonical(maskedFormat, { rosterHash, dealersHash, place, vecRoot, chunkDigests });
  for (const secret of Object.values(phase.secrets)) secret.fill(0);
  return sign(setting, 'MASKED', body, { ...phase, name: 'masked' });
}

/** R3: consents to a set of survivors, once. */
function consent(state: ClientState, phase: Phase<'masked'>, message: Survivors): ClientStep {
  const { members, place, dealers, dealersHash } = phase;
  const survivors = placesOf(message.survivors, members.members.length);
  if (message.rosterHash !== members.rosterHash || survivors === null)
    return fail(state, 'bad-survivors', 'the survivors are of another roster');
  const stranger = survivors.find((survivor) => !dealers.includes(survivor));
  if (stranger !== undefined) return fail(state, 'bad-survivors', `place ${stranger} survived without dealing shares`);
  if (!survivors.includes(place)) return fail(state, 'bad-survivors', 'this client is not among the survivors');
  const { clientCountMin, organisationCountMin } = state.setting;
  const least = Math.max(thresholdsFor(state, members).shares, clientCountMin);
  if (survivors.length < least)
    return fail(state, 'bad-survivors', `expected at least ${least} survivors, found ${survivors.length}`);
  const organisations = organisationsOf(survivors.map((survivor) => members.members[survivor]!)).size;
  if (organisations < organisationCountMin)
    return fail(state, 'bad-survivors', `the survivors are of ${organisations} organisations`);
  const survivorsHash = survivorsHashOf(dealersHash, message);
  const body = encodeCanonical(agreeFormat, { rosterHash: members.rosterHash, place, survivorsHash });
  return sign(state.setting, 'AGREE', body, { ...phase, name: 'agreed', survivors, survivorsHash });
}

/** R4: enough different dealers consented to the very same survivors. */
function checkQuorum(state: ClientState, phase: Phase<'agreed'>, quorum: Quorum): ClientStep {
  const { members, dealers, place, survivorsHash } = phase;
  if (quorum.survivorsHash !== survivorsHash) return fail(state, 'no-quorum', 'the consents are to other survivors');
  const consenting = consentsTo(survivorsHash, quorum, members, dealers);
  const least = thresholdsFor(state, members).quorum;
  if (consenting.size < least || (least > 0 && !consenting.has(place)))
    return fail(state, 'no-quorum', `expected ${least} consents, the own among them, found ${consenting.size}`);
  return {
    state: { ...state, phase: { ...phase, name: 'journaling' } },
    effects: [{ type: 'journal', survivorsHash }],
  };
}

/** The different places among `dealers` that signed their consent to `survivorsHash`. */
export function consentsTo(
  survivorsHash: Digest,
  quorum: Quorum,
  { rosterHash, members }: Members,
  dealers: readonly number[],
): ReadonlySet<number> {
  const consenting = new Set<number>();
  for (const { place: signer, signature } of quorum.signatures) {
    if (!dealers.includes(signer)) continue;
    const body = encodeCanonical(agreeFormat, { rosterHash, place: signer, survivorsHash });
    if (verifyStrict(members[signer]!.publicKey, 'AGREE', body, signature)) consenting.add(signer);
  }
  return consenting;
}

/** M5: one share of every dealer; of a survivor its self share, of any other its mask share. */
function unmask(state: ClientState, phase: Phase<'journaling'>, { isFirst }: Event<'journaled'>): ClientStep {
  if (!isFirst) return fail(state, 'second-unmask', 'this round number was unmasked before');
  const { dealers, survivors, held, place, survivorsHash } = phase;
  const shares = dealers.map((dealer) => {
    const shares = held.get(dealer) ?? null;
    return { dealer, share: shares === null ? null : survivors.includes(dealer) ? shares.self : shares.mask };
  });
  const body = encodeCanonical(unmaskFormat, { survivorsHash, place, shares });
  wipe(phase);
  return sign(state.setting, 'UNMASK', body, { name: 'unmasked' });
}
