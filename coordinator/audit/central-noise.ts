/**
 * Central noise that an auditor can draw again (`shared/decisions/0018`): only where a plan retains updates, the noise of a round comes from a seed
 * whose hash stands in the log before the round is offered. The seed lies beside the retained updates and nowhere else: whoever has those could
 * compute the sum without noise anyway. Seeds of other rounds do not exist.
 */
import type { Happening } from '../../shared/audit/entry.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { deriveKey } from '../../shared/crypto/key-derivation.ts';
import { createKeyStream, type KeyStream } from '../../shared/crypto/key-stream.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { CoordinatorStore } from '../store/store.ts';

type Documents = Pick<CoordinatorStore, 'documents'>;

/** Whether rounds of a plan have noise that is kept. */
export function keepsNoise({ privacy, audit }: Pick<Plan, 'privacy' | 'audit'>): boolean {
  return privacy.unit === 'client' && privacy.mechanism === 'central' && audit.retainUpdates;
}

const commitmentOf = (seed: Uint8Array): Digest => digestOf(utf8('TRIB-NOISE'), seed);

/** Draws the seed of a round, makes it durable, and says what the log is to hold before the round is offered. A repeated attempt keeps its seed. */
export async function commitNoise({ documents }: Documents, roundIndex: number, entropy: Entropy): Promise<Happening> {
  const kept = await documents.get(`noise/${roundIndex}`);
  const seed = kept === null || kept === '' ? entropy.bytes(32) : fromHex(kept);
  await documents.put(`noise/${roundIndex}`, toHex(seed));
  const commitment = commitmentOf(seed);
  seed.fill(0);
  return { type: 'noise-committed', subject: String(roundIndex), payload: { roundIndex, commitment } };
}

/** The noise of a round; null where there is no seed of it. */
export async function noiseOf(
  { documents }: Documents,
  roundIndex: number,
  roundHash: Digest,
): Promise<KeyStream | null> {
  const kept = await documents.get(`noise/${roundIndex}`);
  if (kept === null || kept === '') return null;
  const secret = fromHex(kept);
  const key = deriveKey({ secret, salt: fromHex(roundHash), info: utf8('TRIB/central-noise') });
  const stream = createKeyStream(1, key);
  for (const bytes of [secret, key]) bytes.fill(0);
  return stream;
}

/** Forgets the seed of a round without a version. */
export async function forgetNoise({ documents }: Documents, roundIndex: number): Promise<void> {
  if (await documents.get(`noise/${roundIndex}`)) await documents.put(`noise/${roundIndex}`, '');
}

/** Whether the seed of a round is the one that the log named before the round was offered. */
export async function isCommitted(
  { documents, log }: Documents & Pick<CoordinatorStore, 'log'>,
  roundIndex: number,
): Promise<boolean> {
  const kept = await documents.get(`noise/${roundIndex}`);
  const named = await log.find('noise-committed', String(roundIndex));
  const opened = await log.find('round-opened', String(roundIndex));
  if (kept === null || kept === '' || named === null || opened === null || named.sequence > opened.sequence)
    return false;
  return (JSON.parse(named.payload) as { readonly commitment: unknown }).commitment === commitmentOf(fromHex(kept));
}
