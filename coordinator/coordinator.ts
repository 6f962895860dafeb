/**
 * A coordinator in one call: opens its durable state, serves the network, and runs the federation to its end. The initial adapter comes from
 * the caller, so that nothing here computes with tensors.
 */
import { join } from 'node:path';
import { assert } from '../shared/core/assert.ts';
import { bytesOf, toHex } from '../shared/core/bytes.ts';
import { UsageError } from '../shared/core/errors.ts';
import type { Digest, FederationId } from '../shared/core/ids.ts';
import type { Clock, Entropy } from '../shared/core/ports.ts';
import { systemEntropy } from '../shared/crypto/entropy.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import { createIdentity, fingerprint } from '../shared/crypto/identity.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { planBytes, planHashOf } from '../shared/plan/plan.ts';
import type { AdapterLayout } from '../shared/update/layout.ts';
import { layoutDigest } from '../shared/update/layout.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import { createDesk } from './desk.ts';
import { createGate } from './enrolment/gate.ts';
import type { InviteRequest } from './enrolment/invites.ts';
import { createInvite } from './enrolment/invites.ts';
import type { CoordinatorListener } from './events.ts';
import type { FederationEnd } from './federation.ts';
import { openFederation } from './federation.ts';
import { makeInitialVersion } from './library/publish.ts';
import { openFileBlobs } from './store/blob-files.ts';
import { createMemoryBlobs } from './store/blob-memory.ts';
import type { CoordinatorBlobs } from './store/blobs.ts';
import { openIdentity } from './store/keys.node.ts';
import type { CoordinatorStore, FederationRecord, VersionRow } from './store/store.ts';
import { createMemoryStore } from './store/store-memory.ts';
import { openSqliteStore } from './store/store-sqlite.ts';
import { serveBlobs } from './transport/served-blobs.ts';
import { socketServer } from './transport/socket-server.ts';
import type { Transport } from './transport/transport.ts';

export type { CoordinatorListener, CoordinatorProgress } from './events.ts';
export type { FederationEnd } from './federation.ts';

/** What {@link startCoordinator} needs. */
export interface CoordinatorOptions {
  readonly plan: Plan;
  /** Files of the base model by name, as clients get them. */
  readonly baseFiles: ReadonlyMap<string, Uint8Array>;
  /** Digest of the base; must be the one that the plan names. */
  readonly baseDigest: Digest;
  readonly layout: AdapterLayout;
  /** Start values `[layout.dim]`, computed from the plan's seed; used when the state folder is new. */
  readonly initialAdapter: Float32Array;
  /** Folder of the durable state; null keeps everything in memory, for tests. */
  readonly stateFolder: string | null;
  /** Port to listen on, 0 for a free one; ignored when a transport is given. */
  readonly port?: number;
  readonly host?: string;
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly entropy?: Entropy;
  readonly onEvent?: CoordinatorListener;
}

/** A running coordinator. */
export interface Coordinator {
  /** Address that it listens on. */
  readonly url: string;
  readonly federationId: FederationId;
  /** Fingerprint of its key, as clients show it. */
  readonly fingerprint: string;
  /** How the federation ended. Rejects when durable storage fails. */
  readonly ended: Promise<FederationEnd>;
  /** An enrolment code; the address defaults to the one that it listens on. */
  invite(request: Partial<InviteRequest> & Pick<InviteRequest, 'organisation'>): Promise<string>;
  versions(): Promise<VersionRow[]>;
  /** Bytes of a published adapter. */
  adapter(version: VersionRow): Promise<Uint8Array>;
  /** Ends the federation as stopped and tells the clients; a later start goes on with the next round. */
  stop(): void;
  /** Stops, closes connections and state; once, however often it is called. */
  close(): Promise<void>;
}

const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Durable state of a coordinator. */
export interface CoordinatorState {
  readonly store: CoordinatorStore;
  readonly blobs: CoordinatorBlobs;
  readonly identity: Identity;
}

/** Opens a state folder, or state in memory for null. @throws StoreError. */
export async function openState(
  stateFolder: string | null,
  entropy: Entropy = systemEntropy,
): Promise<CoordinatorState> {
  if (stateFolder === null)
    return { store: createMemoryStore(), blobs: createMemoryBlobs(), identity: createIdentity(entropy) };
  const identity = openIdentity(stateFolder, entropy);
  const blobs = await openFileBlobs(join(stateFolder, 'blobs'));
  return { store: openSqliteStore(join(stateFolder, 'coordinator.sqlite')), blobs, identity };
}

/**
 * Starts a coordinator, or goes on with the one whose state lies in the folder.
 * @throws UsageError when plan, base and state do not belong together; StoreError, TransportError.
 */
export async function startCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { plan, clock = systemClock, entropy = systemEntropy, onEvent = () => undefined } = options;
  const state = await openState(options.stateFolder, entropy);
  const { store, blobs, identity } = state;
  const record = await matchFederation(options, state, clock, entropy);
  const served = serveBlobs(blobs);
  const base = [];
  for (const [name, bytes] of options.baseFiles) base.push({ name, blob: await served.announce(bytes) });
  const planReference = await served.announce(planBytes(plan));
  const dim = options.layout.dim;
  const federation = await openFederation({
    plan,
    record,
    dim,
    base,
    planReference,
    served,
    store,
    blobs,
    identity,
    clock,
    entropy,
    onEvent,
  });
  const gate = createGate({
    ...{ identity, record, store, clock, entropy, status: federation.status },
    onEnrolled: ({ clientId, name, status }) => onEvent({ type: 'enrolled', clientId, name, status }),
    onRejected: federation.rejected,
  });
  const desk = createDesk({ federation, store, served, clock });
  const transport =
    options.transport ??
    socketServer({ port: options.port ?? 0, ...(options.host === undefined ? {} : { host: options.host }) });
  const url = await transport.listen({
    ...gate,
    ...desk,
    health: async () => ({ status: 200, body: { status: federation.status(), phase: federation.state().phase.name } }),
    connected: federation.joined,
    disconnected: federation.left,
  });
  onEvent({ type: 'listening', url });
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await federation.close();
    await transport.close();
    await store.close();
  };
  return {
    url,
    federationId: record.federationId,
    fingerprint: fingerprint(identity.publicKey),
    ended: federation.ended,
    invite: async (request) => {
      const whole: InviteRequest = { approval: 'automatic', url, ...request };
      return (await createInvite(whole, { store, identity, record, clock, entropy })).code;
    },
    versions: () => store.versions(),
    adapter: ({ adapter }) => blobs.get(adapter),
    stop: federation.stop,
    close: () => (closing ??= close()),
  };
}

/** The federation of the state, made on first use with version 0. */
async function matchFederation(
  options: CoordinatorOptions,
  state: CoordinatorState,
  clock: Clock,
  entropy: Entropy,
): Promise<FederationRecord> {
  const { plan, layout, initialAdapter, baseDigest } = options;
  const { store, blobs, identity } = state;
  assert(initialAdapter.length === layout.dim, 'the initial adapter has the length of the layout');
  if (plan.base.digest !== baseDigest) {
    throw new UsageError(
      'base-mismatch',
      `the plan names base ${plan.base.digest}, the given base has ${baseDigest}; give the base that the plan was written for`,
    );
  }
  const planHash = planHashOf(plan);
  const layoutHash = layoutDigest(layout);
  const found = await store.federation();
  if (found !== null && (found.planHash !== planHash || found.layoutHash !== layoutHash)) {
    throw new UsageError(
      'plan-mismatch',
      `the state holds a federation with plan ${found.planHash}, the given plan is ${planHash}; use its plan, or another --state folder`,
    );
  }
  const tensors = layout.tensors.map(({ name, shape, aggregationClass, decays }) => ({
    name,
    shape,
    aggregationClass,
    decays,
  }));
  const record = found ?? {
    federationId: toHex(entropy.bytes(32)) as FederationId,
    ...{ planHash, layoutHash, baseDigest, tensors },
    plan: new TextDecoder().decode(planBytes(plan)),
    createdMs: clock.nowMs(),
  };
  if (found === null) await store.createFederation(record);
  if ((await store.latestVersion()) === null) {
    const bytes = bytesOf(initialAdapter);
    const adapter = await blobs.put(bytes);
    const lineage = { identity, plan, record, publishedMs: clock.nowMs() };
    await store.createVersion(makeInitialVersion(lineage, adapter, modelHashOf(baseDigest, bytes)));
  }
  return record;
}
