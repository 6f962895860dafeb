/** Whole masked federations one of whose clients does not keep to the protocol: what it does to its own calls, to its secrets, or to its vector. */

import { memoryState } from '../../coordinator/store/state.ts';
import type { MemoryConnection } from '../../coordinator/transport/memory-transport.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { type Identity, identityFromSeed } from '../../shared/crypto/identity.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeMessage, decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { type CallName, type PlainCall, plainCalls, replies } from '../../shared/protocol/messages.ts';
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import { maskHere } from '../../shared/secure-aggregation/mask-work.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

/** Values of the adapter. */
export const dim = 5;

/** A call of the hostile client on its way; of a masked message its parts. */
export interface OwnCall {
  readonly name: CallName;
  readonly body: Uint8Array;
  readonly attachment: Uint8Array | undefined;
  readonly said: PlainCall<'masked'> | null;
}

/** What the hostile client works with beside its own call. */
export interface Hands {
  readonly identity: Identity;
  /** Sends a call; the code of its refusal, or null with what it was answered. */
  readonly send: (call: Pick<OwnCall, 'name' | 'body' | 'attachment'>) => Promise<Heard>;
  /** A masked message with another body, signed by this client unless by somebody else. */
  readonly other: (call: OwnCall, body: Uint8Array, by?: Identity) => Pick<OwnCall, 'name' | 'body' | 'attachment'>;
  /** The last secrets of 32 bytes that it drew, in order. */
  readonly secrets: readonly Uint8Array[];
}

/** An answer: its bytes, and the code where it is a refusal. */
export interface Heard {
  readonly body: Uint8Array;
  readonly code: string | null;
}

/** One that is hostile: where it says so, in place of a call, or on its vector before the masks. */
export interface Hostility {
  readonly call?: (call: OwnCall, hands: Hands) => Promise<Heard | null>;
  readonly vector?: (vector: MaskedVector) => void;
  /** What its training gives, one value. */
  readonly value?: number;
}

/** What federations of it are made with. */
export interface HostileOptions {
  readonly clientCount: number;
  readonly rounds?: object;
  readonly aggregation?: object;
  readonly secureAggregation?: object;
  /** What the client with index 0 does; null: it is honest. */
  readonly hostility: Hostility | null;
}

function refusalIn(name: CallName, body: Uint8Array): string | null {
  const reply = decodeReply(replies[name] as (typeof replies)['commit'], body);
  return reply.ok ? null : reply.error.code;
}

/** The world as the hostile client sees it. */
function worldOf(world: World, hands: Omit<Hands, 'send' | 'other'>, { call: act }: Hostility): World {
  const connect: World['transport']['connect'] = async (...given) => {
    const opened = await world.transport.connect(...given);
    if (!opened.ok) return opened;
    const send: Hands['send'] = async ({ name, body, attachment }) => {
      const answer = await opened.value.call(name, body, attachment);
      return { body: answer.body, code: refusalIn(name, answer.body) };
    };
    const other: Hands['other'] = (call, body, by = hands.identity) => {
      const said = { ...call.said!, body, signature: by.sign(call.said!.kind, body) };
      return { ...call, body: encodeMessage(said) };
    };
    const connection: MemoryConnection = {
      ...opened.value,
      call: async (name, body, attachment) => {
        const masked = name === 'masked' ? decodeMessage(plainCalls.masked, body) : null;
        const said = masked?.ok === true ? masked.value : null;
        const heard = await act?.({ name, body, attachment, said }, { ...hands, send, other });
        return heard ?? opened.value.call(name, body, attachment);
      },
    };
    return { ok: true, value: connection };
  };
  return { ...world, transport: { ...world.transport, connect } };
}

/** Runs a federation to its end: clients with the deltas 0.1, 0.2, …, of which the first may be hostile. */
export async function federateWith({ clientCount, hostility, ...changes }: HostileOptions) {
  const plan = parsePlan(
    {
      ...testPlan({
        rounds: { count: 1, cohortSize: clientCount, quorum: 3, voidsMax: 2, ...changes.rounds },
        aggregation: { weighting: 'equal', ...changes.aggregation },
        evaluation: { everyRounds: 0 },
        secureAggregation: { mode: 'on', coordBound: 2, ...changes.secureAggregation },
      }),
      base: { digest: fixedBaseDigest(fixedBase) },
    },
    'the test',
  );
  const state = memoryState(seededEntropy(61));
  const world = await startWorld({ plan, state, ...fixedStart(dim) });
  const { value = 0.1 } = hostility ?? {};
  const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  const ids: Identity['clientId'][] = [];
  for (let index = 0; index < clientCount; index++) {
    const platform = platformIn(world, 640 + index);
    const identity = identityFromSeed(await platform.identitySeed(), engineCrypto);
    ids.push(identity.clientId);
    const learner = fixedLearner({
      dim,
      delta: () => new Float32Array(dim).fill(index === 0 ? value : (index + 1) / 10),
    });
    if (index > 0 || hostility === null) {
      clients.push(await runClient(world, { platform, learner, policy }));
      continue;
    }
    const secrets: Uint8Array[] = [];
    const entropy: Entropy = {
      bytes: (count) => {
        const bytes = platform.entropy.bytes(count);
        if (count === 32) secrets.push(bytes);
        return bytes;
      },
    };
    const maskWork: typeof maskHere = {
      ...maskHere,
      apply: async (vector, ...masks) => {
        hostility.vector?.(vector);
        await maskHere.apply(vector, ...masks);
      },
    };
    const seen = worldOf(world, { identity, secrets }, hostility);
    clients.push(await runClient(seen, { platform: { ...platform, entropy, maskWork }, learner, policy }));
  }
  for (let turn = 0; turn < 150 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  const end = await world.coordinator.ended;
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const library = await world.coordinator.library();
  const values = await Promise.all(library.map(async ({ row }) => float32Of(await world.coordinator.adapter(row))[0]!));
  const refused = world.events.flatMap((event) => (event.type === 'rejected' ? [[event.clientId, event.code]] : []));
  return {
    state,
    world,
    plan,
    end,
    ids,
    library,
    values,
    refused,
    problems: clients.slice(1).map((one) => one.problems),
    /** Of the hostile client itself. */
    own: clients[0]!.problems,
  };
}
