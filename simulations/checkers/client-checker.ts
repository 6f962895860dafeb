/**
 * Watches the clients of a world that follow the protocol. What it knows of them it sees from outside: the messages that they sign, and the
 * state after every event.
 */
import { toHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import type { ClientPhase } from '../../shared/secure-aggregation/client-state.ts';
import {
  advertFormat,
  drawFormat,
  type ShareKind,
  type Shares,
  shareHashOf,
  sharesFormat,
  unmaskFormat,
} from '../../shared/secure-aggregation/messages.ts';
import {
  type ClientAttempt,
  type ClientAttemptEvent,
  type ClientAttemptStep,
  graphOf,
  isGrouped,
  isLegalForClient,
  rankOf,
  rosterOf,
  type SentKind,
  standingOf,
} from './attempts.ts';
import { check } from './check.ts';

/** One message as its sender signed it. */
export interface SignedMessage {
  readonly clientId: ClientId;
  readonly roundIndex: number;
  readonly kind: SentKind;
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

/** Knows what was signed by whom. */
export interface ClientChecker {
  /** A client signs a message, honest or not. */
  signed(message: SignedMessage): void;
  /** Whether exactly these bytes were signed by this client. */
  isGenuine(message: Omit<SignedMessage, 'roundIndex'>): boolean;
  /** A client that follows the protocol took an event. */
  stepped(client: ClientId, before: ClientAttempt, event: ClientAttemptEvent, step: ClientAttemptStep): void;
  /** The buffers of an attempt that is over. */
  wiped(client: ClientId, buffers: Iterable<Uint8Array>): void;
}

const fingerprintOf = ({ clientId, kind, body, signature }: Omit<SignedMessage, 'roundIndex'>): string =>
  `${clientId} ${kind} ${digestOf(body, signature)}`;

/** Watches the clients of one world. `isHonest` tells who follows the protocol. */
export function createClientChecker(isHonest: (client: ClientId) => boolean): ClientChecker {
  const genuine = new Set<string>();
  const keys = new Set<string>();
  const unmasks = new Map<string, Digest>();
  const dealt = new Map<string, Shares>();
  const revealed = new Map<string, ShareKind>();
  /** Nonces of clients that follow the protocol, and what stands for a group to its members. */
  const nonces = new Map<string, string>();
  const divisions = new Map<string, Digest>();

  const noteKeys = (body: Uint8Array): void => {
    const advert = decodeCanonical(advertFormat, body, 'M1');
    if (!advert.ok) return;
    const { boxKey, maskKey, selfCommitment } = advert.value;
    for (const key of [toHex(boxKey), toHex(maskKey), selfCommitment]) {
      check('fresh-keys', !keys.has(key), `a key was announced twice: ${key.slice(0, 8)}`);
      keys.add(key);
    }
  };
  /** Of a dealer that follows the protocol, all clients together reveal one kind of share. */
  const noteRevealed = (phase: Extract<ClientPhase, { name: 'journaling' }>, body: Uint8Array): void => {
    const { members, place } = phase;
    const unmask = decodeCanonical(unmaskFormat, body, 'M5');
    if (!unmask.ok) return;
    for (const { dealer, share } of unmask.value.shares) {
      const from = dealt.get(`${members.rosterHash} ${dealer}`);
      const owner = members.members[dealer]!.clientId;
      if (share === null || from === undefined || !isHonest(owner)) continue;
      const hashes = dealer === place ? from.own : from.dealt.find(({ holder }) => holder === place)!;
      for (const kind of ['mask', 'self'] as const) {
        const hash = shareHashOf(members.rosterHash, { dealer, holder: place }, kind, share);
        if (hash !== hashes[`${kind}Hash`]) continue;
        const key = `${members.rosterHash} ${dealer}`;
        const before = revealed.get(key) ?? kind;
        check('never-both', before === kind, `shares of both secrets of place ${dealer} were revealed`);
        revealed.set(key, kind);
      }
    }
  };
  /** Every nonce is its owner's, and whoever divides a roster finds the same groups. */
  const checkDivision = (who: string, event: ClientAttemptEvent, state: ClientAttempt): void => {
    if (event.type !== 'drawn' || !isGrouped(state) || state.phase.name !== 'masking') return;
    const { whole, group } = state.phase;
    for (const [place, nonce] of event.drawn.nonces.entries()) {
      const own = nonces.get(`${whole.rosterHash} ${place}`) ?? toHex(nonce);
      check('one-division', own === toHex(nonce), `${who}: the nonce of place ${place} is not its owner's`);
    }
    const standing = standingOf(state);
    const members = standing?.name === 'shared' ? standing.members.rosterHash : whole.rosterHash;
    const key = `${whole.rosterHash} ${group}`;
    const isSame = (divisions.get(key) ?? members) === members;
    check('one-division', isSame, `${who}: group ${group} is another one to another client`);
    divisions.set(key, members);
  };

  return {
    signed: (message) => {
      const { clientId, roundIndex, kind, body } = message;
      genuine.add(fingerprintOf(message));
      if (kind === 'SHARES') {
        const shares = decodeCanonical(sharesFormat, body, 'M2');
        if (shares.ok) dealt.set(`${shares.value.rosterHash} ${shares.value.place}`, shares.value);
      }
      if (!isHonest(clientId)) return;
      if (kind === 'ADVERT') noteKeys(body);
      if (kind === 'DRAW') {
        const draw = decodeCanonical(drawFormat, body, 'M1b');
        if (draw.ok) nonces.set(`${draw.value.rosterHash} ${draw.value.place}`, toHex(draw.value.nonce));
      }
      if (kind !== 'UNMASK') return;
      const key = `${clientId} ${roundIndex}`;
      const digest = digestOf(body);
      const detail = `${clientId.slice(0, 8)} unmasked round ${roundIndex} twice`;
      check('one-unmask-per-round', (unmasks.get(key) ?? digest) === digest, detail);
      unmasks.set(key, digest);
    },
    isGenuine: (message) => genuine.has(fingerprintOf(message)),
    stepped: (client, before, event, { state, effects }) => {
      const who = `${client.slice(0, 8)} ${before.phase.name} x ${event.type}`;
      const [graphBefore, graph] = [graphOf(before), graphOf(state)];
      if (!isLegalForClient(before, event)) {
        const isSame = state.phase.name === before.phase.name && graph?.phase === graphBefore?.phase;
        const isQuiet = isSame && effects.length === 1 && effects[0]!.type === 'report';
        check('illegal-changes-nothing', isQuiet, who);
        return;
      }
      check('forward-only', rankOf(state) > rankOf(before), `${who} leads to ${state.phase.name}`);
      const roster = rosterOf(state);
      if (roster !== null && rosterOf(before) === null && event.type === 'roster') {
        for (const { clientId, place, advert } of roster.members) {
          const entry = event.roster.entries[place];
          if (entry === undefined || !isHonest(clientId)) continue;
          const message = { clientId, kind: 'ADVERT', body: entry.advert, signature: entry.signature } as const;
          check(
            'authenticity',
            genuine.has(fingerprintOf(message)),
            `${who}: keys ${toHex(advert.maskKey).slice(0, 8)} were not announced by their owner`,
          );
        }
      }
      checkDivision(who, event, state);
      const standing = standingOf(state);
      if (standing?.name === 'agreed') {
        const stranger = standing.survivors.find((place) => !standing.dealers.includes(place));
        check('survivors-dealt', stranger === undefined, `${who}: place ${stranger} survives without having dealt`);
      }
      if (graphBefore?.phase.name === 'journaling' && graph?.phase.name === 'signing')
        noteRevealed(graphBefore.phase, graph.phase.body);
    },
    wiped: (client, buffers) => {
      for (const buffer of buffers) {
        const isZero = buffer.every((byte) => byte === 0);
        check('wiped', isZero, `${client.slice(0, 8)} keeps ${buffer.length} secret bytes of a finished attempt`);
      }
    },
  };
}
