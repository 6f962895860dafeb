/**
 * What a round costs beside the bytes that it moves: real clients in processes of their own over real sockets, no training; in turns with as
 * many processes that do nothing but exchange the same bytes over bare socket.io (`bare-socket.ts`). Turns, because on a shared machine two
 * figures that were taken one after the other compare the hours of the day. The first turn compiles code and fetches the base, and is not
 * measured. All processes, those of the floor too, mark late like the commands `coordinator` and `client`. Every figure is a median; processor
 * time is that of the coordinator's process and of the clients that take part.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Coordinator } from '../../coordinator/coordinator.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { socketServer } from '../../coordinator/transport/socket-server.ts';
import { markLate } from '../../shared/core/engine-memory.node.ts';
import type { BareServer } from './bare-socket.ts';
import { openBareServer } from './bare-socket.ts';
import type { Benchmark } from './benchmark.ts';
import { integerFlag, machineName, median } from './benchmark.ts';
import type { Children } from './children.ts';
import { createChildren, ownCpuMs } from './children.ts';
import { benchmarkFederation } from './federation.ts';
import type { HeldOffers } from './held-offers.ts';
import { holdOffers } from './held-offers.ts';
import type { RoundClientOrder, RoundClientReport } from './round-client.ts';
import type { RoundParts, RoundWatch } from './round-watch.ts';
import { createRoundWatch } from './round-watch.ts';

/** Exchanges, and rounds, of one turn: what one kind leaves behind in caches and heaps should not be most of what the other kind meets. */
const perTurn = 6;

interface Stage {
  readonly clientCount: number;
  readonly bare: BareServer;
  readonly offers: HeldOffers;
  readonly watch: RoundWatch;
  /** Processes of the real clients and of those on bare sockets. */
  readonly clients: Children;
  readonly bareClients: Children;
}

/** Starts the process of one client. What it tells goes to the watch. */
async function startClient(
  { clients, watch }: Stage,
  coordinator: Coordinator,
  order: Omit<RoundClientOrder, 'invite'>,
): Promise<void> {
  const child = clients.start();
  child.on('message', (report: RoundClientReport) => watch.heard(report));
  const invite = await coordinator.invite({ organisation: `site ${order.mark}` });
  child.send({ ...order, invite } satisfies RoundClientOrder);
}

interface Turns {
  readonly floor: number[];
  readonly floorCpu: number[];
  readonly round: number[];
  readonly roundCpu: number[];
  readonly parts: RoundParts[];
}

/** Takes turns of several exchanges and as many rounds; the first turn is not measured. */
async function takeTurns(stage: Stage, turnCount: number, progress: (line: string) => void): Promise<Turns> {
  const { clientCount, bare, offers, watch, clients, bareClients } = stage;
  const turns: Turns = { floor: [], floorCpu: [], round: [], roundCpu: [], parts: [] };
  const cpuMs = async (taking: Children): Promise<number> => ownCpuMs() + (await watch.unlessFailed(taking.cpuMs()));
  await watch.unlessFailed(bare.complete);
  for (let turn = 0; turn <= turnCount; turn++) {
    let heldMs = await watch.unlessFailed(offers.held(clientCount));
    const floor: number[] = [];
    const parts: RoundParts[] = [];
    const bareCpu = await cpuMs(bareClients);
    for (let count = 0; count < perTurn; count++) floor.push(await watch.unlessFailed(bare.exchange()));
    const floorCpu = (await cpuMs(bareClients)) - bareCpu;
    const startCpu = await cpuMs(clients);
    for (let count = 0; count < perTurn; count++) {
      if (count > 0) heldMs = await watch.unlessFailed(offers.held(clientCount));
      const releasedMs = performance.now();
      offers.release();
      parts.push(await watch.roundEnded(turn * perTurn + count, { heldMs, releasedMs }));
    }
    const roundCpu = (await cpuMs(clients)) - startCpu;
    if (turn === 0) continue;
    turns.floor.push(...floor);
    turns.floorCpu.push(floorCpu / perTurn);
    turns.round.push(...parts.map(({ wholeMs }) => wholeMs));
    turns.roundCpu.push(roundCpu / perTurn);
    turns.parts.push(...parts);
    const times = [parts.map(({ wholeMs }) => wholeMs), floor].map((list) => median(list).toFixed(0));
    progress(`turn ${turn} of ${turnCount}: rounds ${times[0]} ms, floor ${times[1]} ms`);
  }
  return turns;
}

/** `--clients 10 --dim 1000000 --turns 4`: the figures are medians over the rounds and exchanges of all turns. */
export const bench: Benchmark = async (flags, progress) => {
  markLate();
  const clientCount = integerFlag(flags, 'clients', 10);
  const dim = integerFlag(flags, 'dim', 1_000_000);
  const turnCount = integerFlag(flags, 'turns', 4);
  const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  const bare = await openBareServer({ clientCount, size: dim * 4 });
  const offers = holdOffers(socketServer({ port: 0 }));
  const watch = createRoundWatch(clientCount);
  const clients = createChildren('round-client.ts', watch.fail);
  const bareClients = createChildren('bare-client.ts', watch.fail);
  let coordinator: Coordinator | null = null;
  try {
    coordinator = await startCoordinator({
      ...benchmarkFederation({ clientCount, roundCount: (turnCount + 1) * perTurn, dim }),
      stateFolder: join(folder, 'coordinator'),
      transport: offers.transport,
      onEvent: watch.happened,
    });
    const stage: Stage = { clientCount, bare, offers, watch, clients, bareClients };
    for (let mark = 1; mark <= clientCount; mark++) {
      bareClients.start([bare.url, String(dim * 4)]);
      await startClient(stage, coordinator, { stateFolder: join(folder, `client-${mark}`), dim, mark });
    }
    const turns = await takeTurns(stage, turnCount, progress);
    await watch.unlessFailed(coordinator.ended);
    await watch.unlessFailed(watch.finished);
    await Promise.all([clients.leave(), bareClients.leave()]);
    const part = (name: keyof RoundParts): number => median(turns.parts.map((parts) => parts[name]));
    return {
      name: 'round',
      machine: machineName(),
      backend: null,
      threads: 1,
      results: {
        medianMs: median(turns.round),
        floorMs: median(turns.floor),
        ratio: median(turns.round) / median(turns.floor),
        cpuMs: median(turns.roundCpu),
        floorCpuMs: median(turns.floorCpu),
        fastestMs: Math.min(...turns.round),
        fastestFloorMs: Math.min(...turns.floor),
        openMs: part('openMs'),
        fetchMs: part('fetchMs'),
        uploadMs: part('uploadMs'),
        publishMs: part('publishMs'),
        clients: clientCount,
        dim,
        rounds: turns.round.length,
      },
    };
  } finally {
    for (const kind of [clients, bareClients]) kind.kill();
    await coordinator?.close();
    await bare.close();
    rmSync(folder, { recursive: true, force: true });
  }
};
