/**
 * A federation of phases: runs those of its plan one after the other, each as a federation with its own plan, adapter and rounds, over the same
 * clients, store and round numbers. What a phase published last is what later ones build on; between two phases stands a version that begins
 * the next one. That version is the only thing that is written, in one step: a coordinator that is killed goes on in the phase that it names.
 */
import { assert } from '../shared/core/assert.ts';
import { bytesOf } from '../shared/core/bytes.ts';
import type { ClientId } from '../shared/core/ids.ts';
import { type PhasePlace, planOfPhase, plansAhead } from '../shared/plan/phases.ts';
import { type Plan, planBytes, planHashOf } from '../shared/plan/plan.ts';
import { spentStatement } from '../shared/plan/privacy.ts';
import { encodeMessage } from '../shared/protocol/codec.ts';
import { type Exchange, exchangeOf } from '../shared/update/exchange.ts';
import { type AdapterLayout, layoutDigest } from '../shared/update/layout.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import { operatorOf } from './canary/operator.ts';
import { type Federation, type FederationEnd, type FederationPorts, openFederation } from './federation.ts';
import type { Hearing } from './hearing.ts';
import { placesOf, planPlaceOf, recordsOf, type VersionPlace } from './library/places.ts';
import { makePhaseStart } from './library/publish.ts';
import type { VersionRow } from './store/store.ts';
import type { Peer } from './transport/transport.ts';

/** What a phase is on its base, and the values that it starts from. */
export interface PreparedPhase {
  readonly layout: AdapterLayout;
  readonly trainedLayout?: AdapterLayout;
  /** `[layout.dim]`, of the phase's own seed and what earlier phases published. */
  initialAdapter(): Float32Array;
}

/** Makes a phase ready; `results` are the adapters that the phases before it published last, in their order. @throws UsageError. */
export type PreparePhase = (plan: Plan, results: readonly Uint8Array[]) => PreparedPhase;

/** What phases are run with: everything of a federation but what each phase has of its own. */
export interface PhasesPorts
  extends Omit<FederationPorts, 'plan' | 'exchange' | 'planReference' | 'isLast' | 'firstRound'> {
  /** The document with its phases. */
  readonly document: Plan;
  readonly prepare: PreparePhase;
}

/** The plan of the first rounds of a document: of its first phase, where it has any. */
export function firstPlanOf(document: Plan): Plan {
  return document.phases === undefined ? document : planOfPhase(document, { index: 0, firstRound: 0, results: [] });
}

const exchangeOfPhase = ({ aggregation }: Plan, { layout, trainedLayout }: PreparedPhase): Exchange =>
  exchangeOf(aggregation, layout, trainedLayout);

/** The phase in hand, running. */
interface RunningPhase {
  readonly place: VersionPlace;
  readonly federation: Federation;
}

/** Starts, or goes on with, the phases of a document. @throws StoreError, and what `prepare` throws. */
export async function openPhases(ports: PhasesPorts): Promise<Federation> {
  const { document, record, prepare, served, store, blobs, identity, clock, onEvent } = ports;
  const { phases = [] } = document;
  const peers = new Map<ClientId, Peer>();
  const end = Promise.withResolvers<FederationEnd>();
  end.promise.catch(() => undefined);
  let [isStopping, isClosed, isOver] = [false, false, false];
  let moving: Promise<void> = Promise.resolve();

  const adaptersOf = (place: VersionPlace, rows: readonly VersionRow[]): Promise<Uint8Array[]> =>
    Promise.all(place.results.map((version) => blobs.get(rows[version]!.adapter)));
  const prepared = async (place: VersionPlace, rows: readonly VersionRow[]) => {
    const plan = planOfPhase(document, planPlaceOf(document, place, rows) satisfies PhasePlace);
    const phase = prepare(plan, await adaptersOf(place, rows));
    const hashes = { planHash: planHashOf(plan), layoutHash: layoutDigest(phase.layout) };
    return { plan, phase, record: { ...record, ...hashes } };
  };

  /** Goes on with the phase of the latest version. */
  const open = async (): Promise<RunningPhase> => {
    const rows = await store.versions();
    const place = placesOf(recordsOf(rows, identity.publicKey)).at(-1);
    assert(place !== undefined, 'a federation has a version');
    const { plan, phase, record: own } = await prepared(place, rows);
    const federation = await openFederation({
      ...ports,
      plan,
      record: own,
      exchange: exchangeOfPhase(plan, phase),
      planReference: await served.announce(planBytes(plan)),
      firstRound: place.firstRound,
      isLast: place.index === phases.length - 1,
    });
    return { place, federation };
  };

  /** Publishes the version that begins the next phase. */
  const begin = async ({ place }: RunningPhase): Promise<void> => {
    const rows = await store.versions();
    const latest = rows.at(-1);
    assert(latest !== undefined, 'a phase that is over has a version');
    // Uses a round number up: clients that remember the last result expect its model in the round after it.
    const used = ((await store.rounds()).at(-1)?.roundIndex ?? -1) + 1;
    const index = place.index + 1;
    const next: VersionPlace = { index, firstRound: used + 1, results: [...place.results, rows.length - 1] };
    const { plan, phase, record: own } = await prepared(next, rows);
    const bytes = bytesOf(phase.initialAdapter());
    const { digest: adapterDigest } = await served.announce(bytes);
    await store.openRound(used, latest.modelHash, 0);
    await store.voidRound(used, 0, `phase ${phases[index]!.name} begins`);
    const lineage = {
      identity,
      plan,
      record: own,
      publishedMs: clock.nowMs(),
      isCertified: ports.certificates() !== null,
      // It is made of what earlier phases published: the numbers up to this one have paid for it.
      spent: spentStatement(plan, exchangeOfPhase(plan, phase).uploaded.dim, used),
    };
    const modelHash = modelHashOf(record.baseDigest, bytes);
    const facts = { latest, adapterDigest, modelHash, index, firstRound: next.firstRound };
    const version = makePhaseStart(lineage, facts);
    await store.addVersion(version);
    onEvent({
      type: 'phase-started',
      name: phases[index]!.name,
      index,
      count: phases.length,
      version: version.version,
    });
  };

  // What the operator's files lack for a later phase is said before any begins.
  for (const plan of plansAhead(document).slice(1)) (await operatorOf(plan, ports.openOperator))?.dispose();
  let running = await open();
  const current = (): Federation => running.federation;
  const finish = (over: FederationEnd): void => {
    isOver = true;
    end.resolve(over);
  };
  /** Follows the phase in hand to its end, and goes on with the next. */
  const follow = async (phase: RunningPhase): Promise<void> => {
    const over = await phase.federation.ended;
    if (over.status === 'stopped' || phase.place.index === phases.length - 1) return finish(over);
    await phase.federation.close();
    if (isStopping || isClosed) {
      const stopped = {
        status: 'stopped',
        detail: `stopped by its operator between two phases; ${over.detail}`,
      } as const;
      for (const peer of peers.values()) peer.send('finished', encodeMessage(stopped));
      onEvent({ type: 'ended', ...stopped });
      return finish(stopped);
    }
    await begin(phase);
    running = await open();
    for (const peer of peers.values()) current().joined(peer);
    if (isStopping) current().stop();
    return follow(running);
  };
  moving = follow(running).catch((thrown: unknown) => end.reject(thrown));

  const hearing: Hearing = {
    judgeRound: (...said) => current().hearing.judgeRound(...said),
    accepted: (...said) => current().hearing.accepted(...said),
    declined: (...said) => current().hearing.declined(...said),
    progressed: (...said) => current().hearing.progressed(...said),
    fetched: (...said) => current().hearing.fetched(...said),
    announced: (...said) => current().hearing.announced(...said),
    uploaded: (...said) => current().hearing.uploaded(...said),
    committed: (...said) => current().hearing.committed(...said),
    evaluated: (...said) => current().hearing.evaluated(...said),
    ready: (...said) => current().hearing.ready(...said),
    masked: (...said) => current().hearing.masked(...said),
    rejected: (...said) => current().hearing.rejected(...said),
  };
  const stop = (): void => {
    isStopping = true;
    current().stop();
  };
  return {
    hearing,
    ended: end.promise,
    state: () => current().state(),
    status: () => current().status(),
    joined: (peer) => {
      peers.set(peer.clientId, peer);
      current().joined(peer);
    },
    left: (peer) => {
      peers.delete(peer.clientId);
      current().left(peer);
    },
    stop,
    vacated: (withinMs) => current().vacated(withinMs),
    close: async () => {
      isClosed = true;
      stop();
      await current().close();
      if (!isOver) await moving;
      await current().close();
    },
  };
}
