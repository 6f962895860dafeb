/**
 * Watches the clients of a world that follow the protocol. What it knows of them it sees from outside: the messages that they sign, and the
 * state after every event.
 */
import { toHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import type { ClientEvent, ClientPhase, ClientStep, SignedKind } from '../../shared/secure-aggregation/client-state.ts';
import { legalClientEvents } from '../../shared/secure-aggregation/client-state.ts';
import {
  advertFormat,
  type ShareKind,
  type Shares,
  shareHashOf,
  sharesFormat,
  unmaskFormat,
} from '../../shared/secure-aggregation/messages.ts';
import { check } from './check.ts';

/** One message as its sender signed it. */
export interface SignedMessage {
  readonly clientId: ClientId;
  readonly roundIndex: number;
  readonly kind: SignedKind;
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
  stepped(client: ClientId, phase: ClientPhase, event: ClientEvent, step: ClientStep): void;
  /** The buffers of an attempt that is over. */
  wiped(client: ClientId, buffers: Iterable<Uint8Array>): void;
}

const ranks: Readonly<Record<Exclude<ClientPhase['name'], 'signing'>, number>> = {
  advertised: 1,
  shared: 2,
  masking: 3,
  masked: 4,
  agreed: 5,
  journaling: 6,
  unmasked: 7,
  finished: 8,
  aborted: 9,
};

/** Where on its way a client stands; signing is half a step before what it leads to. */
function rankOf(phase: ClientPhase): number {
  return phase.name === 'signing' ? ranks[phase.next.name] - 0.5 : ranks[phase.name];
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
      if (kind !== 'UNMASK') return;
      const key = `${clientId} ${roundIndex}`;
      const digest = digestOf(body);
      const detail = `${clientId.slice(0, 8)} unmasked round ${roundIndex} twice`;
      check('one-unmask-per-round', (unmasks.get(key) ?? digest) === digest, detail);
      unmasks.set(key, digest);
    },
    isGenuine: (message) => genuine.has(fingerprintOf(message)),
    stepped: (client, phase, event, { state, effects }) => {
      const who = `${client.slice(0, 8)} ${phase.name} x ${event.type}`;
      if (!legalClientEvents[phase.name].includes(event.type)) {
        const isQuiet = state.phase === phase && effects.every(({ type }) => type === 'report');
        check('illegal-changes-nothing', isQuiet && effects.length === 1, who);
        return;
      }
      check('forward-only', rankOf(state.phase) > rankOf(phase), `${who} leads to ${state.phase.name}`);
      const next = state.phase.name === 'signing' ? state.phase.next : state.phase;
      if ('members' in next && phase.name === 'advertised') {
        for (const { clientId, advert } of next.members.members) {
          const entry =
            event.type === 'roster'
              ? event.roster.entries[next.members.members.findIndex((one) => one.clientId === clientId)]
              : undefined;
          if (entry === undefined || !isHonest(clientId)) continue;
          const message = { clientId, kind: 'ADVERT', body: entry.advert, signature: entry.signature } as const;
          check(
            'authenticity',
            genuine.has(fingerprintOf(message)),
            `${who}: keys ${toHex(advert.maskKey).slice(0, 8)} were not announced by their owner`,
          );
        }
      }
      if (next.name === 'agreed') {
        const stranger = next.survivors.find((place) => !next.dealers.includes(place));
        check('survivors-dealt', stranger === undefined, `${who}: place ${stranger} survives without having dealt`);
      }
      if (phase.name === 'journaling' && state.phase.name === 'signing') noteRevealed(phase, state.phase.body);
    },
    wiped: (client, buffers) => {
      for (const buffer of buffers) {
        const isZero = buffer.every((byte) => byte === 0);
        check('wiped', isZero, `${client.slice(0, 8)} keeps ${buffer.length} secret bytes of a finished attempt`);
      }
    },
  };
}
