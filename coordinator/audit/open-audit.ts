/** The log of a coordinator that runs: its store with a log of what changes, what it keeps for replay, and what it proves to clients. */

import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import { clientIdOf } from '../../shared/crypto/identity.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { OpenedEnvelope } from '../../shared/protocol/envelope.ts';
import type { CoordinatorState } from '../store/state.ts';
import type { CoordinatorStore } from '../store/store.ts';
import { type AuditLog, createAuditLog } from './audit-log.ts';
import { contradicted } from './contradiction.ts';
import { createEvidenceBox } from './evidence.ts';
import { happeningsOf } from './happenings.ts';
import { entryOf, payloadOf } from './log-store.ts';
import { loggedStore } from './logged-store.ts';

/** What a client asks about: how much of the log it knows, and the update of which round it has a receipt of. */
export interface ProofRequest {
  readonly size: number;
  readonly roundIndex: number;
  readonly receipt: Digest | null;
}

/** The log of one coordinator. */
export interface Audit {
  readonly log: AuditLog;
  /** The store of the state; what changes in it is logged. */
  readonly store: CoordinatorStore;
  /** Keeps what a client signed until its round ends. */
  readonly keepEvidence: (clientId: ClientId, evidence: OpenedEnvelope<unknown>['evidence']) => void;
  /** Logs that a client signed another update in the same round; durable when it resolves. */
  readonly keepContradiction: (
    clientKey: Uint8Array,
    roundHash: Digest,
    second: OpenedEnvelope<unknown>['evidence'],
  ) => Promise<void>;
  /** Logs what is missing, and this start. */
  start(planHash: Digest): Promise<void>;
  /** Answers clients of a federation with bytes of a proof. */
  readonly prover: (federationId: FederationId) => (request: ProofRequest) => Promise<Uint8Array>;
}

/** Takes the log of a state into use. `plan` null: by a command beside the coordinator, which ends no rounds. */
export async function openAudit(
  { store, identity }: Pick<CoordinatorState, 'store' | 'identity'>,
  plan: Plan | null,
  clock: Clock,
): Promise<Audit> {
  const log = createAuditLog({ store: store.log, identity, clock });
  const retains = plan?.audit.retainUpdates ?? false;
  const box = createEvidenceBox();
  const coordinatorKey = identity.publicKey;
  return {
    log,
    store: loggedStore({ store, log, coordinatorKey, retains, takeEvidence: box.take }),
    keepEvidence: box.keep,
    keepContradiction: async (publicKey, roundHash, { envelope, signature }) => {
      const kept = box.of(clientIdOf(publicKey));
      if (kept === null) return;
      const first = { signed: fromHex(kept.envelope), signature: fromHex(kept.signature) };
      const second = { signed: envelope, signature };
      await log.record(contradicted({ publicKey, roundHash, kind: 'UPDATE', first, second }));
    },
    start: async (planHash) => {
      await log.record(...(await happeningsOf(store, coordinatorKey)));
      const key = toHex(coordinatorKey);
      const starts = (await store.log.rows(0)).filter((row) => entryOf(row).type === 'coordinator-started');
      const before = starts.at(-1);
      const startedMs = clock.nowMs();
      const subject = `${starts.length}`;
      await log.record(
        ...(before === undefined || payloadOf(before).coordinatorKey === key
          ? []
          : [{ type: 'key-changed' as const, subject, payload: { coordinatorKey: key } }]),
        { type: 'coordinator-started', subject, payload: { coordinatorKey: key, planHash, startedMs } },
      );
    },
    prover:
      (federationId) =>
      ({ size, roundIndex, receipt }) =>
        log.prove(federationId, size, [
          { type: 'round-published', subject: String(roundIndex) },
          { type: 'round-void', subject: String(roundIndex) },
          ...(receipt === null ? [] : [{ type: 'update-stored' as const, subject: `${roundIndex}/${receipt}` }]),
        ]),
  };
}
