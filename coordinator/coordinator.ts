/**
 * A coordinator in one call: opens its durable state, serves the network, and runs the federation to its end. The initial adapter comes from
 * the caller, so that nothing here computes with tensors.
 */
import { assert } from '../shared/core/assert.ts';
import { bytesOf, toHex } from '../shared/core/bytes.ts';
import { UsageError } from '../shared/core/errors.ts';
import type { Digest, FederationId } from '../shared/core/ids.ts';
import { baseFileBytesMax } from '../shared/core/limits.ts';
import type { Clock, Entropy } from '../shared/core/ports.ts';
import { systemClock } from '../shared/core/system-clock.ts';
import { systemEntropy } from '../shared/crypto/entropy.ts';
import { fingerprint } from '../shared/crypto/identity.ts';
import { digestOfSource, sourceOf } from '../shared/model/byte-source.ts';
import type { BaseFiles } from '../shared/model/load.ts';
import { plansAhead } from '../shared/plan/phases.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { planBytes, planHashOf } from '../shared/plan/plan.ts';
import { askedOfAll } from '../shared/plan/secure-aggregation.ts';
import { groupSizeMax } from '../shared/secure-aggregation/threshold.ts';
import { exchangeOf } from '../shared/update/exchange.ts';
import type { AdapterLayout } from '../shared/update/layout.ts';
import { layoutDigest, specificationOf } from '../shared/update/layout.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import { eraseWithdrawn } from './audit/erasure.ts';
import { openAudit } from './audit/open-audit.ts';
import type { OpenOperator } from './canary/operator.ts';
import { createDesk } from './desk.ts';
import { createGate } from './enrolment/gate.ts';
import type { InviteRequest } from './enrolment/invites.ts';
import { createInvite } from './enrolment/invites.ts';
import { createRegistry } from './enrolment/registry.ts';
import type { CoordinatorListener } from './events.ts';
import type { FederationEnd } from './federation.ts';
import { openFederation } from './federation.ts';
import type { CheckedVersion } from './library/lineage.ts';
import { checkLineage } from './library/lineage.ts';
import { makeInitialVersion } from './library/publish.ts';
import { firstPlanOf, openPhases, type PreparePhase } from './phases.ts';
import type { CoordinatorState } from './store/state.ts';
import { memoryState, openState } from './store/state.ts';
import type { FederationRecord, RoundRecord, VersionRow } from './store/store.ts';
import { serveBlobs } from './transport/served-blobs.ts';
import { socketServer } from './transport/socket-server.ts';
import type { Traffic } from './transport/traffic.ts';
import { countTraffic } from './transport/traffic.ts';
import type { Transport } from './transport/transport.ts';

export type { CoordinatorListener, CoordinatorProgress } from './events.ts';
export type { FederationEnd } from './federation.ts';
export type { RoundRecord, VersionRow } from './store/store.ts';
export type { Traffic } from './transport/traffic.ts';

/** What {@link startCoordinator} needs. */
export interface CoordinatorOptions {
  readonly plan: Plan;
  /** Files of the base model by name, as clients get them; read until the coordinator has started, and copied to its state. */
  readonly baseFiles: BaseFiles;
  /** Digest of the base; must be the one that the plan names. */
  readonly baseDigest: Digest;
  /** The layout of what is published, with the plan's classes (`federatedLayout`). */
  readonly layout: AdapterLayout;
  /** The layout of what clients train, where that is another: a plan may publish more ranks than it trains. */
  readonly trainedLayout?: AdapterLayout;
  /** Makes later phases ready; needed where the plan has phases, of whose first `layout` and `initialAdapter` are. */
  readonly preparePhase?: PreparePhase;
  /** Start values `[layout.dim]`, computed from the plan's seed; used when the state folder is new. */
  readonly initialAdapter: Float32Array;
  /** Makes rows of the operator ready, where the plan names some: for its gate, or for FLTrust. */
  readonly openOperator?: OpenOperator;
  /** Folder of the durable state; null keeps everything in memory, for tests. */
  readonly stateFolder: string | null;
  /** State that is open already, in place of the folder; closed with the coordinator. */
  readonly state?: CoordinatorState;
  /** Port to listen on, 0 for a free one; ignored when a transport is given. */
  readonly port?: number;
  readonly host?: string;
  /** Address under which clients reach it, where that is another than the one it listens on: behind a proxy that adds TLS. */
  readonly publicUrl?: string;
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly entropy?: Entropy;
  readonly onEvent?: CoordinatorListener;
}

/** A running coordinator. */
export interface Coordinator {
  /** Address that clients use. */
  readonly url: string;
  readonly federationId: FederationId;
  /** Fingerprint of its key, as clients show it. */
  readonly fingerprint: string;
  /** How the federation ended. Rejects when durable storage fails. */
  readonly ended: Promise<FederationEnd>;
  /** An enrolment code; the address defaults to the one that it listens on. */
  invite(request: Partial<InviteRequest> & Pick<InviteRequest, 'organisation'>): Promise<string>;
  /** Who says that a client is one, in words. */
  membership(): Promise<string>;
  /** Every round number that was used, open ones included. */
  rounds(): Promise<RoundRecord[]>;
  versions(): Promise<VersionRow[]>;
  /** All versions with what was signed about them. @throws StoreError `version-damaged`. */
  library(): Promise<CheckedVersion[]>;
  /** Bytes of a published adapter. */
  adapter(version: VersionRow): Promise<Uint8Array>;
  /** Application bytes since this start. */
  traffic(): Traffic;
  /** Ends the federation as stopped and tells the clients; a later start goes on with the next round. */
  readonly stop: () => void;
  /** Resolves when every client has gone, or after `withinMs`: after the end, so that all hear of it before `close` cuts them off. */
  readonly vacated: (withinMs: number) => Promise<void>;
  /** Stops, closes connections and state; once, however often it is called. */
  close(): Promise<void>;
}

/**
 * Starts a coordinator, or goes on with the one whose state lies in the folder.
 * @throws UsageError when plan, base and state do not belong together, or another coordinator runs on the state; StoreError, TransportError.
 */
export async function startCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { stateFolder, entropy = systemEntropy } = options;
  const state = options.state ?? (stateFolder === null ? memoryState(entropy) : await openState(stateFolder, entropy));
  try {
    return await start(options, state);
  } catch (thrown) {
    await state.close();
    throw thrown;
  }
}

async function start(options: CoordinatorOptions, state: CoordinatorState): Promise<Coordinator> {
  const { plan, host, port = 0, clock = systemClock, entropy = systemEntropy, onEvent = () => undefined } = options;
  const { blobs, identity } = state;
  const audit = await openAudit(state, plan, clock);
  const { store } = audit;
  const exchange = exchangeOf(firstPlanOf(plan).aggregation, options.layout, options.trainedLayout);
  const record = await matchFederation(options, { ...state, store }, clock, entropy);
  const served = serveBlobs(blobs);
  const base = [];
  for (const [name, content] of options.baseFiles) base.push({ name, blob: await served.announce(content) });
  const planReference = await served.announce(planBytes(plan));
  const wanted = [planReference, ...base.map(({ blob }) => blob)].map(({ digest }) => digest);
  const kept = (await store.versions()).flatMap(({ adapter, ruleState }) => [adapter, ruleState ?? adapter]);
  // Vectors of a masked round that its coordinator's end interrupted.
  const open = (await store.rounds()).filter(({ status }) => status === 'open');
  for (const { roundIndex } of open) kept.push(...(await store.updatesOf(roundIndex)).map(({ delta }) => delta));
  kept.push(...(await store.log.retained()).map(({ delta }) => delta));
  await blobs.retain(new Set([...wanted, ...kept]));
  await eraseWithdrawn({ store, blobs });
  await audit.start(record.planHash);
  const registry = createRegistry({ store, log: audit.log, clock, entropy });
  const shared = { record, base, served, store, blobs, identity, clock, entropy, onEvent };
  const ports = { ...shared, certificates: registry.facts, openOperator: options.openOperator, note: audit.log.record };
  const { preparePhase: prepare } = options;
  assert((plan.phases === undefined) === (prepare === undefined), 'plans of phases come with what prepares them');
  const federation =
    prepare === undefined
      ? await openFederation({ ...ports, plan, exchange, planReference })
      : await openPhases({ ...ports, document: plan, prepare });
  const { hearing } = federation;
  const gate = createGate({
    identity,
    record,
    store,
    clock,
    entropy,
    status: federation.status,
    judgeMember: registry.judge,
    onWithdrawn: async (clientId) => {
      await audit.log.record({ type: 'client-withdrew', subject: clientId, payload: { clientId } });
      await eraseWithdrawn({ store, blobs });
    },
    onEnrolled: ({ clientId, name, status }) => onEvent({ type: 'enrolled', clientId, name, status }),
    onRejected: hearing.rejected,
  });
  const { handlers, traffic } = countTraffic({
    ...gate,
    ...createDesk({
      hearing,
      store,
      served,
      clock,
      audit,
      prove: audit.prover(record.federationId),
      membership: registry.shown,
      judgeMember: registry.judge,
    }),
    health: async () => ({ status: 200, body: { status: federation.status(), phase: federation.state().phase.name } }),
    connected: federation.joined,
    disconnected: federation.left,
    misused: ({ clientId }, found) => void hearing.rejected(clientId, found),
  });
  const transport = options.transport ?? socketServer({ port, ...(host === undefined ? {} : { host }) });
  const listening = await transport.listen(handlers).catch(async (thrown: unknown) => {
    await federation.close();
    throw thrown;
  });
  const url = options.publicUrl ?? listening;
  await store.setAddress(url);
  onEvent({ type: 'listening', url });
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await federation.close();
    await transport.close();
    await state.close();
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
    membership: registry.describe,
    rounds: () => store.rounds(),
    versions: () => store.versions(),
    library: async () =>
      checkLineage(await store.versions(), { coordinatorKey: identity.publicKey, federation: record }),
    adapter: ({ adapter }) => blobs.get(adapter),
    traffic,
    stop: federation.stop,
    vacated: federation.vacated,
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
  for (const [name, content] of options.baseFiles) {
    const { size } = sourceOf(content);
    if (size > baseFileBytesMax) {
      throw new UsageError(
        'base-too-large',
        `${name} of the base has ${size} bytes; clients fetch files of at most ${baseFileBytesMax}`,
      );
    }
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
  if (found === null) await requireRoom(plan, store);
  const tensors = layout.tensors.map(specificationOf);
  const baseFiles = () =>
    [...options.baseFiles].map(([name, content]) => ({ name, digest: digestOfSource(sourceOf(content)) }));
  const record = found ?? {
    federationId: toHex(entropy.bytes(32)) as FederationId,
    planHash,
    layoutHash,
    baseDigest,
    baseFiles: baseFiles(),
    tensors,
    plan: new TextDecoder().decode(planBytes(plan)),
    createdMs: clock.nowMs(),
  };
  if (found === null) await store.createFederation(record);
  if ((await store.latestVersion()) === null) {
    const bytes = bytesOf(initialAdapter);
    const adapter = await blobs.put(bytes);
    const first = firstPlanOf(plan);
    const own = { ...record, planHash: planHashOf(first) };
    const lineage = { identity, plan: first, record: own, publishedMs: clock.nowMs() };
    await store.createVersion(makeInitialVersion(lineage, adapter, modelHashOf(baseDigest, bytes)));
  }
  return record;
}

/** A federation begins with a plan that can ask every client that is enrolled already, where it says all. */
async function requireRoom(plan: Plan, store: CoordinatorState['store']): Promise<void> {
  const enrolled = (await store.clients()).filter(({ status }) => status === 'approved').length;
  const most = Math.min(...plansAhead(plan).map((part) => askedOfAll(part) ?? Number.POSITIVE_INFINITY));
  if (enrolled <= most) return;
  const found = `${enrolled} clients are enrolled, and rounds.cohortSize is all, but one masked sum has at most ${most}`;
  const nearest = `set secureAggregation.groupSize to ${groupSizeMax}, which asks all in groups, or rounds.cohortSize to ${most}, which draws so many`;
  throw new UsageError('bad-plan', `the plan asks not all: ${found}; ${nearest}`);
}
