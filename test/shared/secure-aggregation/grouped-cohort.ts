/** A masked round in groups in memory: real identities, the machines of both sides, and a network that tests bend. */
import { utf8 } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import type { SignedKind } from '../../../shared/secure-aggregation/client-state.ts';
import type { Grouping } from '../../../shared/secure-aggregation/division.ts';
import {
  type GroupedClientEffect,
  type GroupedClientEvent,
  type GroupedClientSetting,
  type GroupedClientState,
  receiveAsGroupedClient,
  startGroupedAttempt,
} from '../../../shared/secure-aggregation/grouped-client.ts';
import {
  type GroupedServerEffect,
  type GroupedServerEvent,
  type GroupedServerState,
  openGroupedAttempt,
  receiveAsGroupedServer,
} from '../../../shared/secure-aggregation/grouped-server.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../../shared/secure-aggregation/mask.ts';
import { masksToRemove } from '../../../shared/secure-aggregation/opening.ts';
import { addTo } from '../../../shared/secure-aggregation/ring.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { identityOf, judgeCertificate, plainVector, roundHash } from './cohort.ts';

/** Kind of a message of a client. */
export type SentKind = SignedKind | 'DRAW';

/** How a cohort is made. */
export interface GroupedCohortOptions {
  readonly clientCount: number;
  readonly grouping: Grouping;
  /** Fewest clients of the whole round. */
  readonly clientCountMin?: number;
  readonly organisationCountMin?: number;
  readonly seed?: number;
  readonly dim?: number;
  readonly organisationOf?: (index: number) => string;
  /** Whether a client vanishes before this message; `group` is known from M2 on. */
  readonly vanishes?: (index: number, kind: SentKind, group: number | null) => boolean;
  /** Changes what the coordinator sends to a client; null loses it. */
  readonly bend?: (event: GroupedClientEvent, index: number) => GroupedClientEvent | null;
  /** Sees every state and every event. */
  readonly watch?: {
    client(state: GroupedClientState, event: GroupedClientEvent): void;
    server(state: GroupedServerState, event: GroupedServerEvent): void;
  };
  /** Production's machine of clients, or a broken one. */
  readonly machine?: GroupedClientMachine;
  /** Bounds of clients where they are stricter than the coordinator's. */
  readonly clientSetting?: Partial<GroupedClientSetting>;
}

/** The client's machine. */
export interface GroupedClientMachine {
  readonly startGroupedAttempt: typeof startGroupedAttempt;
  readonly receiveAsGroupedClient: typeof receiveAsGroupedClient;
}

/** Production's. */
export const productionMachine: GroupedClientMachine = { startGroupedAttempt, receiveAsGroupedClient };

/** One opened group. */
export interface OpenedGroup {
  readonly group: number;
  /** Indices of clients, ascending. */
  readonly survivors: readonly number[];
  readonly sum: MaskedVector;
}

/** What came of a round. */
export interface GroupedCohortOutcome {
  readonly server: GroupedServerState;
  readonly clients: readonly GroupedClientState[];
  readonly opened: readonly OpenedGroup[];
  /** Indices by group; empty when the roster was never divided. */
  readonly groups: readonly (readonly number[])[];
  readonly leftOut: readonly number[];
  readonly rejected: readonly string[];
  readonly ejected: readonly number[];
  /** Kinds of messages that arrived, by kind. */
  readonly sent: readonly GroupedServerEvent[];
}

const typeOf = (kind: SentKind) => kind.toLowerCase() as Lowercase<SentKind>;

/** Runs a round to its end: deadlines are reached when nobody has anything more to say. */
export function runGroupedCohort(options: GroupedCohortOptions): GroupedCohortOutcome {
  const { clientCount, grouping, seed = 1, dim = 5, vanishes, bend } = options;
  const machine = options.machine ?? productionMachine;
  const { clientCountMin = grouping.size, organisationCountMin = 1, clientSetting } = options;
  const organisationOf = options.organisationOf ?? ((index: number) => `org ${index}`);
  const bounds = { clientCountMin, clientCountMax: 1000, organisationCountMin, profile: 'active', grouping } as const;
  const identities = Array.from({ length: clientCount }, (_, index) => identityOf(index));
  const indexOf = new Map(identities.map(({ clientId }, index) => [clientId, index]));
  const certificates = identities.map((_, index) => utf8(organisationOf(index)));
  const stored = new Map<number, MaskedVector>();
  const up: { readonly event: GroupedServerEvent; readonly index: number }[] = [];
  const down: { readonly event: GroupedClientEvent; readonly index: number }[] = [];
  const [rejected, ejected, leftOut]: [string[], number[], number[]] = [[], [], []];
  const sent: GroupedServerEvent[] = [];
  let opened: OpenedGroup[] = [];

  let server = openGroupedAttempt({
    ...bounds,
    roundHash,
    judgeCertificate,
    invited: identities.map(({ clientId }) => clientId),
    vectorBytes: 4 * (dim + 2),
  });
  const clients: GroupedClientState[] = [];
  const groupOf = (index: number): number | null => {
    const phase = clients[index]?.phase;
    return phase !== undefined && 'group' in phase ? phase.group : null;
  };
  const perform = (index: number, effects: readonly GroupedClientEffect[]): void => {
    const { clientId, publicKey, sign } = identities[index]!;
    for (const effect of effects) {
      if (effect.type === 'sign') step(index, { type: 'signed', signature: sign(effect.kind, effect.body) });
      if (effect.type === 'journal') step(index, { type: 'journaled', isFirst: true });
      if (effect.type === 'mask-vector') {
        const { coordinates, tail } = plainVector(index, dim);
        const masked = { coordinates: coordinates.slice(), tail: tail.slice() } as MaskedVector;
        for (const { seed: mask, sign: direction } of effect.masks) {
          applyMask(masked, mask, direction, 1);
          wipeSeed(mask);
        }
        stored.set(index, masked);
        const root = digestOf(new Uint8Array(masked.coordinates.buffer), new Uint8Array(masked.tail.buffer));
        step(index, { type: 'vector-masked', vecRoot: root, chunkDigests: [root] });
      }
      if (effect.type !== 'send' || vanishes?.(index, effect.kind, groupOf(index))) continue;
      const type = typeOf(effect.kind);
      const said = { clientId, body: effect.body, signature: effect.signature };
      const certificate = certificates[index]!;
      const event: GroupedServerEvent =
        type === 'advert' ? { type, ...said, publicKey, certificate } : { type, ...said };
      up.push({ event, index });
    }
  };
  const step = (index: number, event: GroupedClientEvent): void => {
    options.watch?.client(clients[index]!, event);
    const next = machine.receiveAsGroupedClient(clients[index]!, event);
    clients[index] = next.state;
    perform(index, next.effects);
  };
  const serve = (effects: readonly GroupedServerEffect[]): void => {
    const toAll = (ids: readonly ClientId[], event: GroupedClientEvent) => {
      for (const id of ids) down.push({ event, index: indexOf.get(id)! });
    };
    for (const effect of effects) {
      if (effect.type === 'reject') rejected.push(`${effect.reason.code}: ${effect.reason.detail}`);
      if (effect.type === 'eject') ejected.push(indexOf.get(effect.clientId)!);
      if (effect.type === 'leave-out') leftOut.push(effect.group);
      if (effect.type === 'send-roster') toAll(effect.clients, { type: 'roster', roster: effect.roster });
      if (effect.type === 'send-drawn') toAll(effect.clients, { type: 'drawn', drawn: effect.drawn });
      if (effect.type === 'send-delivery') toAll([effect.clientId], { type: 'delivery', delivery: effect.delivery });
      if (effect.type === 'send-outcome') toAll(effect.clients, { type: 'outcome', outcome: effect.outcome });
      if (effect.type === 'send-quorum') toAll(effect.clients, { type: 'quorum', quorum: effect.quorum });
      if (effect.type === 'open-sums')
        opened = effect.openings.map(({ group, opening }) => {
          const { members } = opening.members;
          const survivors = opening.survivors.map(({ place }) => indexOf.get(members[place]!.clientId)!);
          const sum = { coordinates: new Uint32Array(dim), tail: new Uint32Array(2) };
          for (const index of survivors) {
            addTo(sum.coordinates, stored.get(index)!.coordinates);
            addTo(sum.tail, stored.get(index)!.tail);
          }
          for (const { seed: mask, sign } of masksToRemove(opening)) applyMask(sum, mask, sign, 1);
          return { group, survivors: survivors.sort((left, right) => left - right), sum };
        });
    }
  };
  const hear = (event: GroupedServerEvent): void => {
    options.watch?.server(server, event);
    const next = receiveAsGroupedServer(server, event);
    server = next.state;
    serve(next.effects);
  };

  for (const [index, { clientId }] of identities.entries()) {
    const first = machine.startGroupedAttempt({
      ...bounds,
      roundHash,
      clientId,
      certificateHash: digestOf(certificates[index]!),
      checkpoint: { size: 0, root: '00'.repeat(32) as Digest },
      judgeCertificate,
      entropy: seededEntropy(7777 * seed + index),
      ...clientSetting,
    });
    clients.push(first.state);
    perform(index, first.effects);
  }
  for (let deadlines = 0; deadlines < 10; ) {
    const message = up.shift();
    const delivery = message === undefined ? down.shift() : undefined;
    if (message !== undefined) {
      sent.push(message.event);
      hear(message.event);
    } else if (delivery !== undefined) {
      const event = bend === undefined ? delivery.event : bend(delivery.event, delivery.index);
      if (event !== null) step(delivery.index, event);
    } else {
      if (server.phase.name === 'opened' || server.phase.name === 'aborted') break;
      deadlines++;
      hear({ type: 'deadline' });
    }
  }
  const groups =
    'groups' in server.phase
      ? server.phase.groups.map(({ members }) => members.members.map(({ clientId }) => indexOf.get(clientId)!))
      : [];
  return { server, clients, opened, groups, leftOut, rejected, ejected, sent };
}
