/** A whole federation without sockets: the real coordinator and real clients, whose messages are function calls, with learners of the test. */
import { strict as assert } from 'node:assert';
import { createClient } from '../../client/client.ts';
import type { ClientListener } from '../../client/events.ts';
import type { Learner } from '../../client/learner.ts';
import type { Platform } from '../../client/platform/ports.ts';
import { createHandshake } from '../../client/transport/handshake.ts';
import { type IncomingEvent, incomingEvents, type Transport } from '../../client/transport/transport.ts';
import type { MemoryConnection } from '../../coordinator/transport/memory-transport.ts';
import { TransportError } from '../../shared/core/errors.ts';
import type { Policy } from '../../shared/plan/policy.ts';
import { decodeMessage } from '../../shared/protocol/codec.ts';
import { type CallName, type PlainCall, plainCalls } from '../../shared/protocol/messages.ts';
import { memoryPlatform } from '../client/memory-platform.ts';
import type { World } from '../coordinator/harness.ts';
import { until } from '../coordinator/harness.ts';

type PlatformOf = ReturnType<typeof memoryPlatform>;

/** A client's transport to a coordinator in the same process. */
function memoryLink(world: World, options: Parameters<typeof createHandshake>[0]): Transport {
  const handshake = createHandshake(options);
  let connection: MemoryConnection | null = null;
  let offsetMs = 0;
  return {
    connect: async (listener) => {
      const opening = await handshake.begin();
      offsetMs = opening.clockOffsetMs;
      const opened = await world.transport.connect(
        opening.auth,
        (event, body) => {
          if (event === 'welcome') assert.equal(opening.checkWelcome(body), null);
          else if ((incomingEvents as readonly string[]).includes(event)) {
            // As over a network, a message comes after the answers before it.
            setImmediate(() => listener.onMessage(event as IncomingEvent, body));
          }
        },
        () => listener.onLost('closed'),
      );
      if (!opened.ok) throw new TransportError('connection-failed', opened.error.detail);
      connection = opened.value;
      listener.onConnected();
    },
    call: async ({ event, body, attachment }) => {
      assert.ok(connection !== null, 'a client calls when it is connected');
      const answer = await connection.call(event as CallName, body, attachment);
      return { body: answer.body, attachment: answer.attachment ?? null };
    },
    clockOffsetMs: () => offsetMs,
    measureClock: async () => {
      offsetMs = (await handshake.begin()).clockOffsetMs;
    },
    close: () => connection?.close(),
  };
}

/** The world as a client sees it whose calls of a masked round get lost, with no answer ever, where `isLost` says so. */
export function losingCalls(world: World, isLost: (call: PlainCall<'masked'>) => boolean): World {
  const connect: World['transport']['connect'] = async (...given) => {
    const opened = await world.transport.connect(...given);
    if (!opened.ok) return opened;
    const connection: MemoryConnection = {
      ...opened.value,
      call: async (name, body, attachment) => {
        const said = name === 'masked' ? decodeMessage(plainCalls.masked, body) : null;
        if (said?.ok === true && isLost(said.value)) return new Promise<never>(() => undefined);
        return opened.value.call(name, body, attachment);
      },
    };
    return { ok: true, value: connection };
  };
  return { ...world, transport: { ...world.transport, connect } };
}

/** The surroundings of a client of `world`; a client that is run on them again is the same one, restarted. */
export function platformIn(world: World, seed: number): PlatformOf {
  const requestJson: Platform['requestJson'] = (url, _timeoutMs, body) =>
    url.endsWith('/challenge') ? world.transport.challenge() : world.transport.enrol(body);
  return memoryPlatform(seed, requestJson, world.clock);
}

/** A site: what its client runs on, and the organisation that its invite names. */
interface JoiningSite {
  readonly platform: PlatformOf;
  readonly learner: Learner;
  readonly policy: Policy;
  readonly organisation?: string;
  readonly onEvent?: ClientListener;
}

/** Runs one client until its federation ends. */
export async function runClient(
  world: World,
  { platform, learner, policy, organisation = 'site', onEvent = () => undefined }: JoiningSite,
): Promise<{ readonly ended: Promise<unknown>; readonly stop: () => void; readonly problems: readonly string[] }> {
  const stored = (await platform.journal.read()).credentials;
  const invite = await world.coordinator.invite({ organisation, url: 'http://localhost:1' });
  const problems: string[] = [];
  const client = await createClient({
    platform,
    learner,
    policy,
    ...(stored === null ? { invite } : {}),
    onEvent: (event) => {
      onEvent(event);
      if (event.type === 'problem' || event.type === 'declined') problems.push(`${event.code}: ${event.detail}`);
    },
    transportOf: (credentials, identity) => memoryLink(world, { platform, identity, credentials }),
  });
  const controller = new AbortController();
  return { ended: client.run(controller.signal), stop: () => controller.abort(), problems };
}

/** Waits until the coordinator published `count` versions after the first. */
export async function published(world: World, count: number): Promise<void> {
  const seen = (): number => world.events.filter(({ type }) => type === 'published').length;
  await until(() => seen() >= count, `${count} versions`);
}
