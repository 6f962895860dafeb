/**
 * The gate of a plan: measures a candidate, or takes what the round's clients counted, and judges it against the version in effect. What it refuses
 * stands as a signed record in the log before the round ends.
 */

import type { Happening } from '../../shared/audit/entry.ts';
import { assert } from '../../shared/core/assert.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import { FederationError, StoreError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import type { Canary } from '../../shared/plan/canary.ts';
import { type CanaryRecord, sealCanaryRecord } from '../../shared/protocol/canary-record.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import { saidOfLatest } from '../library/measures.ts';
import type { VersionRow } from '../store/store.ts';
import { judgeCandidate, type Measured } from './judge.ts';
import type { OperatorModel } from './operator.ts';

/** Measures by which a version says what the gate found. */
export const canaryMeasures = { candidate: 'canary', before: 'canary-before' } as const;

/** What a gate says of a candidate. */
export interface Verdict extends Measured {
  /** Null where it passes. */
  readonly reason: string | null;
}

/** What is judged. */
export interface JudgedCandidate {
  readonly adapterBytes: Uint8Array;
  readonly modelHash: Digest;
  /** What the round's clients counted; null where nobody did. */
  readonly metrics: Metrics | null;
  /** All versions, oldest first, and the bytes of the latest. */
  readonly versions: readonly VersionRow[];
  readonly latestBytes: Uint8Array;
}

/** A gate. */
export interface CanaryGate {
  judge(candidate: JudgedCandidate): Promise<Verdict>;
}

/** The gate of a plan; null where it has none. */
export function createGate(
  canary: Canary,
  { coordinatorKey, operator }: { readonly coordinatorKey: Uint8Array; readonly operator: OperatorModel | null },
): CanaryGate | null {
  const { by, metric } = canary;
  if (by === 'none') return null;
  /** What the operator's rows say of adapters, by model hash: the candidate that passes is the next version. */
  const known = new Map<Digest, number | null>();
  const measured = async (modelHash: Digest, bytes: Uint8Array): Promise<number | null> => {
    assert(operator !== null, 'a gate of the operator has rows');
    const found = known.get(modelHash);
    if (found !== undefined) return found;
    const value = (await measureWith(operator, bytes))?.[metric] ?? null;
    known.clear();
    known.set(modelHash, value);
    return value;
  };
  return {
    judge: async ({ adapterBytes, modelHash, metrics, versions, latestBytes }) => {
      const latest = versions.at(-1);
      assert(latest !== undefined, 'a candidate follows a version');
      if (by === 'clients') {
        const found = {
          candidate: metrics?.[metric] ?? null,
          before: saidOfLatest(versions, coordinatorKey, ({ metrics: published }) => published?.[metric] ?? null),
        };
        return { ...found, reason: judgeCandidate(canary, found) };
      }
      const before = await measured(latest.modelHash, latestBytes);
      const candidate = modelHash === latest.modelHash ? before : await measured(modelHash, adapterBytes);
      const reason = judgeCandidate(canary, { candidate, before });
      if (reason !== null) known.set(latest.modelHash, before);
      return { candidate, before, reason };
    },
  };
}

/** Null where the values of an adapter cannot be measured, as values near the largest numbers cannot. */
export async function measureWith(
  operator: Pick<OperatorModel, 'measure'>,
  bytes: Uint8Array,
): Promise<Metrics | null> {
  try {
    return await operator.measure(float32Of(bytes));
  } catch (thrown) {
    if (!(thrown instanceof FederationError) || thrown instanceof StoreError) throw thrown;
    return null;
  }
}

/** The entry of the log about a refused candidate, with its signed record. */
export function refusalOf(identity: Identity, record: CanaryRecord): Happening {
  const { record: bytes, signature } = sealCanaryRecord(identity, record);
  const { roundIndex, modelHash, metric, candidate, before, reason } = record;
  return {
    type: 'candidate-refused',
    subject: `${roundIndex}/${modelHash}`,
    payload: {
      roundIndex,
      modelHash,
      metric,
      candidate,
      before,
      reason,
      record: toHex(bytes),
      signature: toHex(signature),
    },
  };
}
