/** A federation over real sockets in one process: a coordinator with its state on disk, and clients with theirs. */
import { strict as assert } from 'node:assert';
import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client, ClientOptions } from '../../client/client.ts';
import { createClient } from '../../client/client.ts';
import type { ClientEvent } from '../../client/events.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import type { FinishReason } from '../../client/session/machine.ts';
import type { Coordinator, CoordinatorProgress } from '../../coordinator/coordinator.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import type { Transport } from '../../coordinator/transport/transport.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import type { Policy } from '../../shared/plan/policy.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import type { FixedLearning } from '../client/fixed-learner.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import type { Request, Said } from './coordinator-process.ts';

/** Values of the adapter: three chunks, the last one not full. */
export const dim = 150_000;

/** A plan for `clientCount` sites; parts may be replaced. */
export function federationPlan(
  rounds: object,
  evaluation: object = { everyRounds: 1 },
  secureAggregation: object = { mode: 'off' },
): Plan {
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'end to end',
      base: { digest: fixedBaseDigest(fixedBase) },
      task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 8 },
      adapter: { method: 'none' },
      training: { localSteps: 1 },
      rounds: { recruitSeconds: 20, trainSeconds: 20, evaluateSeconds: 20, ...rounds },
      aggregation: { rule: 'fedavg' },
      evaluation,
      secureAggregation,
    },
    'the test',
  );
}

/** A policy for tests; the default one, with metrics disclosed and parts replaced. */
export const policyWith = (changes: object = {}): Policy =>
  parsePolicy({ cohortMin: 1, quorumMin: 1, discloseMetrics: true, ...changes }, 'the test');

/** A list of events that can be waited on. */
export interface Heard<Event extends { readonly type: string }> {
  readonly all: Event[];
  readonly add: (event: Event) => void;
  /** Nothing more will be heard: whoever waits, now or later, gets `reason`. */
  readonly fail: (reason: Error) => void;
  /** The `count`-th event that fits, also when it was heard before. Mocha's time limit ends a wait in vain. */
  wait<Type extends Event['type']>(
    type: Type,
    fits?: (event: Extract<Event, { type: Type }>) => boolean,
    count?: number,
  ): Promise<Extract<Event, { type: Type }>>;
}

/** Nothing heard yet. */
export function listen<Event extends { readonly type: string }>(): Heard<Event> {
  const all: Event[] = [];
  let waiting: (() => void)[] = [];
  let failure: Error | null = null;
  const wakeAll = (): void => {
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  return {
    all,
    add: (event) => {
      all.push(event);
      wakeAll();
    },
    fail: (reason) => {
      failure = reason;
      wakeAll();
    },
    wait: async (type, fits = () => true, count = 1) => {
      type Wanted = Extract<Event, { type: typeof type }>;
      for (;;) {
        const found = all.filter((event): event is Wanted => event.type === type && fits(event as Wanted));
        if (found.length >= count) return found[count - 1]!;
        if (failure !== null) throw failure;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}

/** A coordinator that is under way. */
export interface RunningCoordinator {
  readonly coordinator: Coordinator;
  readonly events: Heard<CoordinatorProgress>;
}

/** A coordinator in a process of its own. */
export interface CoordinatorProcess {
  readonly url: string;
  readonly invites: readonly string[];
  readonly events: Heard<CoordinatorProgress>;
  /** Ends the process without giving it a chance to do anything, and resolves when it is gone. */
  readonly kill: () => Promise<void>;
}

/** A client that is under way. */
export interface RunningClient {
  readonly client: Client;
  readonly events: Heard<ClientEvent>;
  readonly ended: Promise<FinishReason>;
  readonly stop: () => void;
}

/** Where a test runs; everything in it is closed at its end. */
export interface World {
  readonly folder: string;
  startCoordinator(
    plan: Plan,
    options?: { readonly clock?: Clock; readonly port?: number; readonly transport?: Transport },
  ): Promise<RunningCoordinator>;
  /** Starts a coordinator process on the state folder of this world. */
  spawnCoordinator(request: Omit<Request, 'stateFolder'>): Promise<CoordinatorProcess>;
  /** Starts the client of a site; a site keeps its state folder under its name. */
  startClient(name: string, learning: Partial<FixedLearning>, options?: Partial<ClientOptions>): Promise<RunningClient>;
  close(): Promise<void>;
}

/** An empty world in a temporary folder. */
export async function openWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'tributary-end-to-end-'));
  const closers: (() => Promise<unknown>)[] = [];
  return {
    folder,
    startCoordinator: async (plan, options = {}) => {
      const events = listen<CoordinatorProgress>();
      const coordinator = await startCoordinator({
        plan,
        ...fixedStart(dim),
        stateFolder: join(folder, 'coordinator'),
        onEvent: events.add,
        ...options,
      });
      closers.push(() => coordinator.close());
      return { coordinator, events };
    },
    spawnCoordinator: async (request) => {
      const child = fork(join(import.meta.dirname, 'coordinator-process.ts'));
      const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      const kill = (): Promise<void> => {
        child.kill('SIGKILL');
        return gone;
      };
      closers.push(kill);
      const events = listen<CoordinatorProgress>();
      const ready = new Promise<Extract<Said, { type: 'ready' }>>((resolve, reject) => {
        child.on('message', (said: Said) => (said.type === 'ready' ? resolve(said) : events.add(said.event)));
        child.once('exit', (code, signal) => {
          const ended = new Error(`the coordinator's process ended with ${code ?? signal}`);
          events.fail(ended);
          reject(ended);
        });
      });
      child.send({ ...request, stateFolder: join(folder, 'coordinator') } satisfies Request);
      const { url, invites } = await ready;
      return { url, invites, events, kill };
    },
    startClient: async (name, { delta = () => new Float32Array(dim).fill(1), ...learning }, options = {}) => {
      const events = listen<ClientEvent>();
      const controller = new AbortController();
      const client = await createClient({
        platform: await nodePlatform(join(folder, name)),
        learner: fixedLearner({ dim, delta, ...learning }),
        policy: policyWith(),
        name,
        onEvent: events.add,
        ...options,
      });
      const ended = client.run(controller.signal);
      ended.catch(() => undefined);
      // Clients end first, then coordinators.
      closers.unshift(async () => {
        controller.abort();
        await ended.catch(() => undefined);
      });
      return { client, events, ended, stop: () => controller.abort() };
    },
    close: async () => {
      for (const close of closers) await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Invites and starts one client per learning. */
export async function startClients(
  world: World,
  { coordinator }: RunningCoordinator,
  learnings: readonly Partial<FixedLearning>[],
): Promise<RunningClient[]> {
  const clients: RunningClient[] = [];
  for (const [index, learning] of learnings.entries()) {
    const name = `site-${index + 1}`;
    const invite = await coordinator.invite({ organisation: name });
    clients.push(await world.startClient(name, learning, { invite }));
  }
  return clients;
}

/** All values of an adapter, which must be the same number. */
export function onlyValue(adapter: Float32Array): number {
  assert.ok(adapter.every((value) => value === adapter[0]));
  return adapter[0]!;
}
