/** Federations of a run: one coordinator process and one process for each site, which speak the full protocol over loopback sockets. */
import type { CoordinatorProgress } from '../../coordinator/events.ts';
import type { AdapterLineage } from '../../shared/adapters/adapter-manifest.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { MetricName, Metrics } from '../../shared/training/metrics.ts';
import type {
  ComputeChoice,
  CurvePoint,
  FromCoordinator,
  FromSite,
  ToCoordinator,
  ToSite,
  TrafficBytes,
} from './messages.ts';
import { startProcess } from './processes.ts';

/** Files of one site. */
export interface SiteFiles {
  readonly name: string;
  readonly trainFile: string;
  readonly heldOutFile: string | null;
  readonly policyFile: string;
}

/** What {@link startFederations} needs. */
export interface FederationsOptions {
  readonly sites: readonly SiteFiles[];
  readonly baseFolder: string;
  readonly compute: ComputeChoice;
  readonly signal: AbortSignal;
}

/** One federation to run. */
export interface FederationTask {
  readonly plan: Plan;
  /** The metric of the curve. */
  readonly metric: MetricName;
  /** Folder of the coordinator's durable state. */
  readonly coordinatorFolder: string;
  /** Folder under which every site keeps its key and journal. */
  readonly clientsFolder: string;
  onListening(url: string): void;
  /** Told for every site how many of its rows are cut for their length, and how many of those are left out. */
  onEncoded(siteName: string, counts: { readonly truncatedCount: number; readonly droppedCount: number }): void;
  /** Training steps of all sites so far, and the last published round. */
  onStep(stepsDone: number, published: PublishedRound | null): void;
}

/** One published round. */
export interface PublishedRound {
  readonly roundIndex: number;
  readonly asked: number;
  readonly contributors: number;
  /** On the held-out rows of all sites; null when none were held out. */
  readonly metrics: Metrics | null;
  readonly seconds: number;
}

/** What a federation came to. */
export interface FederationOutcome {
  readonly adapter: Float32Array;
  /** The coordinator's signed record of this adapter. */
  readonly lineage: AdapterLineage;
  readonly rounds: readonly PublishedRound[];
  readonly curve: readonly CurvePoint[];
  readonly traffic: TrafficBytes;
  readonly seconds: number;
  readonly backend: string;
  /** What clients reported as wrong although they went on; refused updates among it. */
  readonly problems: readonly string[];
}

/** The processes of a run's federations. */
export interface Federations {
  /** Runs one federation to its end; one at a time. @throws FederationError when it does not publish all of its rounds. */
  run(task: FederationTask): Promise<FederationOutcome>;
  /** Ends all processes. */
  close(): Promise<void>;
}

/** Starts the processes; they wait for the first federation. */
export function startFederations({ sites, baseFolder, compute, signal }: FederationsOptions): Federations {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  let hear: Listener | null = null;
  const coordinator = startProcess<ToCoordinator, FromCoordinator>({
    entry: 'coordinator-process',
    name: 'the coordinator',
    signal: either,
    onMessage: (message) => hear?.coordinator(message),
  });
  const clients = sites.map(({ name }, index) =>
    startProcess<ToSite, FromSite>({
      entry: 'client-process',
      name: `the site ${name}`,
      signal: either,
      onMessage: (message) => hear?.site(index, message),
    }),
  );
  const all = [coordinator, ...clients];
  const closeAll = async (): Promise<void> => {
    failure.abort(new FederationError('closed', 'the federation was closed'));
    await Promise.allSettled(all.map(({ ended }) => ended));
  };
  return {
    run: async (task) => {
      const left = all.map(({ ended }) => ended.then(endedEarly));
      const siteNames = sites.map(({ name }) => name);
      const running = listen(task, siteNames);
      hear = running.listener;
      const { plan, coordinatorFolder: stateFolder } = task;
      try {
        coordinator.send({ type: 'start', plan, baseFolder, stateFolder, siteNames });
        const { invites } = await Promise.race([running.ready, ...left]);
        for (const [index, client] of clients.entries()) {
          const { name: siteName, ...files } = sites[index]!;
          const stateFolder = `${task.clientsFolder}/${siteName}`;
          client.send({ type: 'start', siteName, ...files, stateFolder, invite: invites[index]!, compute });
        }
        return await Promise.race([running.outcome, ...left]);
      } catch (thrown) {
        await closeAll();
        throw thrown;
      }
    },
    close: async () => {
      for (const child of all) child.send({ type: 'quit' });
      await Promise.all(all.map(({ ended }) => ended)).catch(closeAll);
    },
  };
}

/** A process ends by itself only when it was asked to. */
function endedEarly(): never {
  throw new FederationError('process-died', 'a process ended before its federation');
}

/** Takes the messages of one federation. */
interface Listener {
  coordinator(message: FromCoordinator): void;
  site(index: number, message: FromSite): void;
}

/** Collects what the processes of one federation say. */
function listen(task: FederationTask, siteNames: readonly string[]) {
  const siteCount = siteNames.length;
  const startedMs = performance.now();
  const ready = Promise.withResolvers<Extract<FromCoordinator, { type: 'ready' }>>();
  const outcome = Promise.withResolvers<FederationOutcome>();
  const rounds: PublishedRound[] = [];
  const problems = new Set<string>();
  const stepsBefore = siteNames.map(() => 0);
  const stepsNow = stepsBefore.slice();
  let ended: Extract<FromCoordinator, { type: 'ended' }> | null = null;
  let finishedSites = 0;
  let backend = '';

  const fail = (detail: string): void => {
    const known = problems.size === 0 ? '' : `; ${[...problems].slice(0, 5).join('; ')}`;
    outcome.reject(new FederationError('federation-stopped', `the federation ended early: ${detail}${known}`));
  };
  const stepped = (): void => {
    const sum = (steps: readonly number[]) => steps.reduce((total, count) => total + count, 0);
    task.onStep(sum(stepsBefore) + sum(stepsNow), rounds.at(-1) ?? null);
  };
  const heardOfCoordinator = (event: CoordinatorProgress): void => {
    if (event.type === 'published') {
      const { roundIndex, asked, contributors, metrics, seconds } = event;
      rounds.push({ roundIndex, asked, contributors, metrics, seconds });
      stepped();
    } else if (event.type === 'rejected')
      problems.add(`the coordinator refused a message (${event.code}): ${event.detail}`);
    else if (event.type === 'client-declined') problems.add(`a site declined (${event.code}): ${event.reason}`);
    // Every site of this run is needed in every round, and none of them mends itself.
    else if (event.type === 'void') fail(`round ${event.roundIndex} is void: ${event.detail}`);
  };
  const finishIfDone = (): void => {
    if (ended === null || finishedSites < siteCount) return;
    const { status, detail, adapter, lineage, traffic } = ended;
    if (status !== 'completed' || rounds.length !== task.plan.rounds.count) {
      fail(detail);
      return;
    }
    const curve = rounds.flatMap(({ metrics }, index) =>
      metrics === null ? [] : [{ round: index + 1, score: metrics[task.metric], loss: metrics.loss }],
    );
    const seconds = (performance.now() - startedMs) / 1000;
    outcome.resolve({ adapter, lineage, rounds, curve, traffic, seconds, backend, problems: [...problems] });
  };
  const listener: Listener = {
    coordinator: (message) => {
      if (message.type === 'ready') {
        task.onListening(message.url);
        ready.resolve(message);
      } else if (message.type === 'event') heardOfCoordinator(message.event);
      else {
        ended = message;
        finishIfDone();
      }
    },
    site: (index, message) => {
      if (message.type === 'backend') backend = message.name;
      else if (message.type === 'encoded') task.onEncoded(siteNames[index]!, message);
      else if (message.type === 'finished') {
        finishedSites++;
        const { kind, detail } = message.reason;
        // The coordinator would wait for this site until its time is up; nothing can come of it any more.
        if (kind === 'refused' || kind === 'stopped') fail(`${siteNames[index]} left (${kind}): ${detail}`);
        finishIfDone();
      } else if (message.event.type === 'training') {
        const { stepsDone, stepCount } = message.event;
        stepsNow[index] = stepsDone;
        if (stepsDone === stepCount) {
          stepsBefore[index]! += stepCount;
          stepsNow[index] = 0;
        }
        stepped();
      } else if (message.event.type === 'problem')
        problems.add(`a site reported ${message.event.code}: ${message.event.detail}`);
    },
  };
  return { listener, ready: ready.promise, outcome: outcome.promise };
}
