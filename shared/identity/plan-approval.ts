/** The consortium's approval of a plan: its hash, signed by the quorum. A site may demand it beside the coordinator's signature (amendment 5). */
import type { Digest } from '../core/ids.ts';
import { decodeCanonical, encodeCanonical } from '../protocol/canonical.ts';
import { type Violation, violation } from '../protocol/violations.ts';
import { type Consortium, consortiumHashOf, openCountersigned } from './consortium.ts';
import { digest, structure } from './formats.ts';

const approvalFormat = structure({ consortium: digest, planHash: digest });

/** What is signed to approve a plan. */
export function encodeApproval(consortium: Consortium, planHash: Digest): Uint8Array {
  return encodeCanonical(approvalFormat, { consortium: consortiumHashOf(consortium), planHash });
}

/** Why the consortium did not approve this plan, or null. */
export function judgeApproval(consortium: Consortium, planHash: Digest, encoded: Uint8Array): Violation | null {
  const body = openCountersigned(consortium, 'PLAN', encoded);
  if (!body.ok) return body.error;
  const approval = decodeCanonical(approvalFormat, body.value, 'plan approval');
  if (!approval.ok) return approval.error;
  const { value } = approval;
  return value.planHash === planHash && value.consortium === consortiumHashOf(consortium)
    ? null
    : violation('bad-certificate', `the consortium approved plan ${value.planHash}, not ${planHash}`);
}
