/** What clients signed in the round in hand, until it is published or void: kept in memory only, and durable where the plan retains it, or a client contradicts it. */
import { toHex } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { OpenedEnvelope } from '../../shared/protocol/envelope.ts';
import type { Evidence } from './log-store.ts';

/** Signed announcements of updates. */
export interface EvidenceBox {
  /** Keeps the announcement of a client; a later one of the same client takes its place. */
  keep(clientId: ClientId, evidence: OpenedEnvelope<unknown>['evidence']): void;
  /** What was kept of a client, or null. */
  of(clientId: ClientId): Evidence | null;
  /** Everything that was kept, in client order; the box is empty afterwards. */
  take(): readonly Evidence[];
}

/** An empty box. */
export function createEvidenceBox(): EvidenceBox {
  const kept = new Map<ClientId, Evidence>();
  return {
    keep: (clientId, { envelope, body, signature }) => {
      kept.set(clientId, { clientId, envelope: toHex(envelope), body: toHex(body), signature: toHex(signature) });
    },
    of: (clientId) => kept.get(clientId) ?? null,
    take: () => {
      const all = [...kept.values()].sort((left, right) => (left.clientId < right.clientId ? -1 : 1));
      kept.clear();
      return all;
    },
  };
}
