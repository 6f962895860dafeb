/** What a signed record tells those who ask a server where an adapter comes from. */
import { fingerprint } from '../../shared/crypto/identity.ts';
import type { VersionRecord } from '../../shared/protocol/version-record.ts';
import type { ServedLineage } from './catalogue.ts';

/** The facts of a record that was signed by `key`. Who contributed stays a number: clients of a federation are nobody's business here. */
export function lineageFacts(record: VersionRecord, key: Uint8Array): ServedLineage {
  return {
    federationId: record.federationId,
    planHash: record.planHash,
    parentModelHash: record.parentModelHash,
    roundIndex: record.round?.roundIndex ?? null,
    contributors: record.contributors.length,
    privacy: record.privacy,
    metrics: record.metrics,
    signedBy: fingerprint(key),
  };
}
