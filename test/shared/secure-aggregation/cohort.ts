/** A whole masked round in memory: real identities, the machines of both sides, and a network that tests bend. */
import { strict as assert } from 'node:assert';
import { utf8 } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import type { Entropy } from '../../../shared/core/ports.ts';
import { refuse, succeed } from '../../../shared/core/result.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { createIdentity, type Identity } from '../../../shared/crypto/identity.ts';
import { violation } from '../../../shared/protocol/violations.ts';
import type {
  ClientEffect,
  ClientEvent,
  ClientSetting,
  ClientState,
} from '../../../shared/secure-aggregation/client-state.ts';
import { applyMask, type MaskedVector, wipeSeed } from '../../../shared/secure-aggregation/mask.ts';
import type { JudgeCertificate } from '../../../shared/secure-aggregation/members.ts';
import { addTo } from '../../../shared/secure-aggregation/ring.ts';
import type {
  ServerEffect,
  ServerEvent,
  ServerSetting,
  ServerState,
} from '../../../shared/secure-aggregation/server-state.ts';
import type { Profile } from '../../../shared/secure-aggregation/threshold.ts';
import { type Machines, productionMachines } from '../../../simulations/world/machines.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

/** Stage before which a client vanishes: its message of this kind never arrives. */
export type Stage = 'ADVERT' | 'SHARES' | 'MASKED' | 'AGREE' | 'UNMASK';

/** How a cohort is made. */
export interface CohortOptions {
  readonly clientCount: number;
  readonly seed?: number;
  readonly profile?: Profile;
  readonly dim?: number;
  /** By index: before which message a client vanishes. */
  readonly vanishing?: ReadonlyMap<number, Stage>;
  readonly organisationOf?: (index: number) => string;
  /** Certificates other than {@link judgeCertificate} judges. */
  readonly certificateOf?: (index: number) => Uint8Array;
  readonly setting?: Partial<ClientSetting>;
  /** Changes what the coordinator sends to a client; null loses it. */
  readonly bend?: (event: ClientEvent, index: number) => ClientEvent | null;
  /** Changes what a client sends. */
  readonly bendUp?: (event: ServerEvent, index: number, client: CohortClient) => ServerEvent;
  /** Bounds of the coordinator where it is laxer than its clients. */
  readonly serverSetting?: Partial<ServerSetting>;
  /** Production's machines, or broken ones. */
  readonly machines?: Machines;
  /** What a client's journal answers. */
  readonly journal?: (index: number, survivorsHash: Digest) => boolean;
}

/** One client of a cohort. */
export interface CohortClient {
  readonly identity: Identity;
  readonly certificate: Uint8Array;
  readonly vector: MaskedVector;
  state: ClientState;
}

/** What came of a round. */
export interface CohortOutcome {
  readonly server: ServerState;
  readonly clients: readonly CohortClient[];
  /** The opened sum and the indices of those who are in it; null when nothing was opened. */
  readonly sum: MaskedVector | null;
  readonly survivors: readonly number[];
  readonly rejected: readonly { readonly clientId: ClientId; readonly code: string }[];
  readonly ejected: readonly ClientId[];
  /** Everything that clients sent, in order. */
  readonly sent: readonly ServerEvent[];
  /** Masked vectors by index, also of those who vanished before they were sent. */
  readonly masked: ReadonlyMap<number, MaskedVector>;
  /** The entropy of a client from its beginning. */
  readonly entropyOf: (index: number) => Entropy;
}

/** Hash of the round of every cohort. */
export const roundHash = 'ab'.repeat(32) as Digest;

/** Certificates of tests: the organisation's name. */
export const judgeCertificate: JudgeCertificate = (certificate) => {
  const organisation = new TextDecoder().decode(certificate);
  return organisation.startsWith('org') ? succeed(organisation) : refuse(violation('unknown-client', 'no member'));
};

/** Plain vectors of a cohort: words that tell clients and places apart. */
export function plainVector(index: number, dim: number): MaskedVector {
  return {
    coordinates: Uint32Array.from({ length: dim }, (_, place) => 1_000_003 * (index + 1) + place),
    tail: Uint32Array.of(index + 1, 65_536),
  };
}

/** The sum of the plain vectors of some clients. */
export function plainSum(indices: readonly number[], dim: number): MaskedVector {
  const sum = { coordinates: new Uint32Array(dim), tail: new Uint32Array(2) };
  for (const index of indices) {
    const { coordinates, tail } = plainVector(index, dim);
    addTo(sum.coordinates, coordinates);
    addTo(sum.tail, tail);
  }
  return sum;
}

const identities = new Map<number, Identity>();

/** The identity of a client, the same in every cohort: a pair of keys costs more than a round. */
export function identityOf(index: number): Identity {
  const known = identities.get(index) ?? createIdentity(seededEntropy(1000 + index), engineCrypto);
  identities.set(index, known);
  return known;
}

const stageOf: Readonly<Record<Stage, ServerEvent['type']>> = {
  ADVERT: 'advert',
  SHARES: 'shares',
  MASKED: 'masked',
  AGREE: 'agree',
  UNMASK: 'unmask',
};

/** Runs a round to its end: deadlines are reached when nobody has anything more to say. */
export function runCohort(options: CohortOptions): CohortOutcome {
  const { startAttempt, receiveAsClient, openAttempt, receiveAsServer, masksToRemove } =
    options.machines ?? productionMachines;
  const { clientCount, seed = 1, profile = 'active', dim = 21, vanishing = new Map(), bend, bendUp, journal } = options;
  const organisationOf = options.organisationOf ?? ((index: number) => `org ${index}`);
  const certificateOf = options.certificateOf ?? ((index: number) => utf8(organisationOf(index)));
  const bounds = { clientCountMin: 3, clientCountMax: 128, organisationCountMin: 1, ...options.setting };
  const entropyOf = (index: number) => seededEntropy(7777 * seed + index);
  const identities = Array.from({ length: clientCount }, (_, index) => identityOf(index));
  const indexOf = new Map(identities.map(({ clientId }, index) => [clientId, index]));
  const sent: ServerEvent[] = [];
  const up: { readonly event: ServerEvent; readonly index: number }[] = [];
  const down: { readonly event: ClientEvent; readonly index: number }[] = [];
  const rejected: { clientId: ClientId; code: string }[] = [];
  const ejected: ClientId[] = [];
  const stored = new Map<number, MaskedVector>();
  let sum: MaskedVector | null = null;
  let survivors: number[] = [];

  const perform = (client: CohortClient, index: number, effects: readonly ClientEffect[]): void => {
    for (const effect of effects) {
      if (effect.type === 'sign') {
        step(client, index, { type: 'signed', signature: client.identity.sign(effect.kind, effect.body) });
      } else if (effect.type === 'send') {
        const { body, signature } = effect;
        const { clientId, publicKey } = client.identity;
        const type = stageOf[effect.kind];
        const said = { clientId, body, signature };
        const event = (
          type === 'advert' ? { type, ...said, publicKey, certificate: client.certificate } : { type, ...said }
        ) as ServerEvent;
        if (vanishing.get(index) === effect.kind) continue;
        up.push({ event: bendUp?.(event, index, client) ?? event, index });
      } else if (effect.type === 'mask-vector') {
        const masked = { coordinates: client.vector.coordinates.slice(), tail: client.vector.tail.slice() };
        for (const { seed: mask, sign } of effect.masks) {
          applyMask(masked as MaskedVector, mask, sign, 1);
          wipeSeed(mask);
        }
        stored.set(index, masked as MaskedVector);
        const vecRoot = digestOf(new Uint8Array(masked.coordinates.buffer), new Uint8Array(masked.tail.buffer));
        step(client, index, { type: 'vector-masked', vecRoot, chunkDigests: [vecRoot] });
      } else if (effect.type === 'journal') {
        step(client, index, { type: 'journaled', isFirst: journal?.(index, effect.survivorsHash) ?? true });
      }
    }
  };
  const step = (client: CohortClient, index: number, event: ClientEvent): void => {
    const next = receiveAsClient(client.state, event);
    client.state = next.state;
    perform(client, index, next.effects);
  };
  const clients = identities.map((identity, index): CohortClient => {
    const certificate = certificateOf(index);
    const setting: ClientSetting = {
      roundHash,
      profile,
      judgeCertificate,
      ...bounds,
      clientId: identity.clientId,
      certificateHash: digestOf(certificate),
      checkpoint: { size: 0, root: '00'.repeat(32) as Digest },
      entropy: entropyOf(index),
    };
    return { identity, certificate, vector: plainVector(index, dim), state: startAttempt(setting).state };
  });
  let server = openAttempt({
    roundHash,
    profile,
    judgeCertificate,
    ...bounds,
    invited: identities.map(({ clientId }) => clientId),
    vectorBytes: 4 * (dim + 2),
    ...options.serverSetting,
  });
  const serve = (effects: readonly ServerEffect[]): void => {
    const toAll = (ids: readonly ClientId[], event: ClientEvent) => {
      for (const id of ids) down.push({ event, index: indexOf.get(id)! });
    };
    for (const effect of effects) {
      if (effect.type === 'reject') rejected.push({ clientId: effect.clientId, code: effect.reason.code });
      if (effect.type === 'eject') ejected.push(effect.clientId);
      if (effect.type === 'send-roster') toAll(effect.clients, { type: 'roster', roster: effect.roster });
      if (effect.type === 'send-delivery') toAll([effect.clientId], { type: 'delivery', delivery: effect.delivery });
      if (effect.type === 'send-survivors') toAll(effect.clients, { type: 'survivors', survivors: effect.survivors });
      if (effect.type === 'send-quorum') toAll(effect.clients, { type: 'quorum', quorum: effect.quorum });
      if (effect.type !== 'open-sum') continue;
      const { members } = effect.opening.members;
      survivors = effect.opening.survivors.map(({ place }) => indexOf.get(members[place]!.clientId)!);
      const opened = { coordinates: new Uint32Array(dim), tail: new Uint32Array(2) };
      for (const index of survivors) {
        addTo(opened.coordinates, stored.get(index)!.coordinates);
        addTo(opened.tail, stored.get(index)!.tail);
      }
      for (const { seed: mask, sign } of masksToRemove(effect.opening)) applyMask(opened, mask, sign, 1);
      sum = opened;
    }
  };
  const hear = (event: ServerEvent): void => {
    const next = receiveAsServer(server, event);
    server = next.state;
    serve(next.effects);
  };
  for (const [index, client] of clients.entries()) {
    assert.equal(client.state.phase.name, 'signing');
    const { phase } = client.state;
    if (phase.name === 'signing') perform(client, index, [{ type: 'sign', kind: phase.kind, body: phase.body }]);
  }
  for (let deadlines = 0; deadlines < 8; ) {
    const message = up.shift();
    if (message !== undefined) {
      sent.push(message.event);
      hear(message.event);
      continue;
    }
    const delivery = down.shift();
    if (delivery !== undefined) {
      const event = bend === undefined ? delivery.event : bend(delivery.event, delivery.index);
      if (event !== null) step(clients[delivery.index]!, delivery.index, event);
      continue;
    }
    if (server.phase.name === 'opened' || server.phase.name === 'aborted') break;
    deadlines++;
    hear({ type: 'deadline' });
  }
  return {
    server,
    clients,
    sum,
    survivors: survivors.sort((left, right) => left - right),
    rejected,
    ejected,
    sent,
    masked: stored,
    entropyOf,
  };
}
