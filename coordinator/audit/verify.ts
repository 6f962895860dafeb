/**
 * Checks a log as a stranger would, with nothing but the coordinator's public key: the chain, details, checkpoints, published versions, and
 * receipts that clients hold. Every fault is found, not only the first.
 */
import { openCheckpoint } from '../../shared/audit/checkpoint.ts';
import { type Entry, entryFormat, noEntry } from '../../shared/audit/entry.ts';
import { createMerkleTree, leafHashOf, type MerkleTree } from '../../shared/audit/merkle.ts';
import { type JudgedProof, logProofFormat, openProvenEntry } from '../../shared/audit/proof.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { errorMessage, StoreError } from '../../shared/core/errors.ts';
import type { FederationId } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { openCanaryRecord } from '../../shared/protocol/canary-record.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import { resultHashOf } from '../../shared/protocol/version-record.ts';
import { describe, type Violation, violation } from '../../shared/protocol/violations.ts';
import { openVoid } from '../../shared/protocol/void-record.ts';
import { checkLineage } from '../library/lineage.ts';
import { bytesIn, judgeContradiction } from './contradiction.ts';
import type { LogDocument } from './log-file.ts';
import { checkPassed, type JudgedVersions, judgeRefusal, plansOf } from './verify-gate.ts';

/** A receipt of a client as its file holds it. */
export interface ReceiptDocument {
  readonly source: string;
  /** Hex of the proof that the client got (`shared/audit/proof.ts`). */
  readonly proof: string;
  /** What its file says that this is a proof of; it has to be what the proof shows. */
  readonly claims?: {
    readonly federationId: string;
    readonly coordinatorKey: string;
    readonly roundIndex: number;
    readonly receipt: string;
  };
}

/** What a check found. */
export interface LogVerdict {
  readonly entryCount: number;
  readonly checkpointCount: number;
  readonly versionCount: number;
  readonly receiptCount: number;
  /** Entries at the end of the log that no checkpoint signs. */
  readonly unsignedCount: number;
  /** Hash of the whole log, hex. */
  readonly root: string;
  /** Everything that is wrong, in words; empty when nothing is. */
  readonly faults: readonly { readonly code: string; readonly detail: string }[];
}

/**
 * Checks a log, and that receipts of clients are in it. `isClosed`: nothing will be added, so that a checkpoint has to sign all of it; the log of a
 * coordinator may be ahead of its checkpoints by what happened since the last round.
 */
export function verifyLog(
  document: LogDocument,
  receipts: readonly ReceiptDocument[] = [],
  { isClosed = false }: { readonly isClosed?: boolean } = {},
): LogVerdict {
  const faults: { code: string; detail: string }[] = [];
  const fault = (code: string, detail: string): void => void faults.push({ code, detail });
  const { entries, tree } = readEntries(document, fault);
  const signedSize = checkCheckpoints(document, tree, fault);
  checkSigned(entries, { size: tree.size(), signedSize, isClosed }, fault);
  checkVersions(document, entries, fault);
  const lineage = lineageOf(document, fault);
  for (const { code, detail } of lineage === null ? [] : checkPassed(lineage, fromHex(document.coordinatorKey)))
    fault(code, detail);
  checkRefusals(document, lineage, entries, fault);
  checkVoids(document, entries, fault);
  for (const { entry, payload } of entries) {
    const wrong = entry.type === 'client-contradicted' ? judgeContradiction(payload) : null;
    if (wrong !== null) fault('bad-evidence', `entry ${entry.sequence}: ${wrong}`);
  }
  for (const receipt of receipts) {
    const found = judgeReceipt(receipt, document, tree);
    if (found !== null) fault(found.code, `${receipt.source}: ${found.detail}`);
  }
  return {
    entryCount: document.rows.length,
    checkpointCount: document.checkpoints.length,
    versionCount: document.versions.length,
    receiptCount: receipts.length,
    unsignedCount: tree.size() - signedSize,
    root: toHex(tree.root(tree.size())),
    faults,
  };
}

type Fault = (code: string, detail: string) => void;

/** The entries with their details; the chain from one to the next. */
function readEntries({ rows }: LogDocument, fault: Fault) {
  const tree = createMerkleTree();
  const entries: { readonly entry: Entry; readonly payload: Readonly<Record<string, unknown>> }[] = [];
  let previous = noEntry;
  for (const [index, row] of rows.entries()) {
    const leaf = fromHex(row.entry);
    tree.append(leafHashOf(leaf));
    const decoded = decodeCanonical(entryFormat, leaf, `entry ${index}`);
    const link = previous;
    previous = digestOf(leaf);
    if (!decoded.ok) {
      fault('bad-entry', decoded.error.detail);
      continue;
    }
    const entry = decoded.value;
    if (entry.sequence !== index) fault('broken-chain', `entry ${index} says that it is number ${entry.sequence}`);
    if (entry.previous !== link) fault('broken-chain', `entry ${index} does not follow the one before it`);
    if (digestOf(utf8(row.payload)) !== entry.payloadHash)
      fault('changed-details', `the details of entry ${index} (${entry.type}) are not those that it names`);
    try {
      entries.push({ entry, payload: JSON.parse(row.payload) as Record<string, unknown> });
    } catch (thrown) {
      fault('changed-details', `the details of entry ${index} are no JSON: ${errorMessage(thrown)}`);
    }
  }
  return { entries, tree };
}

/** How many entries the checkpoints sign. */
function checkCheckpoints({ checkpoints, ...document }: LogDocument, tree: MerkleTree, fault: Fault): number {
  const pinned = pinnedOf(document);
  let signedSize = 0;
  for (const [index, { checkpoint, signature }] of checkpoints.entries()) {
    const opened = openCheckpoint({ checkpoint: fromHex(checkpoint), signature: fromHex(signature) }, pinned);
    if (!opened.ok) {
      fault(opened.error.code, `checkpoint ${index}: ${opened.error.detail}`);
      continue;
    }
    const { size, root } = opened.value;
    if (size > tree.size()) fault('log-cut', `checkpoint ${index} is of ${size} entries, the log has ${tree.size()}`);
    else if (toHex(tree.root(size)) !== root)
      fault('log-fork', `checkpoint ${index} of ${size} entries has root ${root}, the log ${toHex(tree.root(size))}`);
    else signedSize = Math.max(signedSize, size);
  }
  return signedSize;
}

/** Without checkpoints anybody can write a log. One is signed when a round ends, so that at most the last one lacks it: where its coordinator was killed. */
function checkSigned(
  entries: ReturnType<typeof readEntries>['entries'],
  { size, signedSize, isClosed }: { readonly size: number; readonly signedSize: number; readonly isClosed: boolean },
  fault: Fault,
): void {
  if (size === 0) fault('empty-log', 'there is no entry, and a log begins with that of its federation');
  const ended = entries.filter(
    ({ entry: { type, sequence } }) => sequence >= signedSize && (type === 'round-published' || type === 'round-void'),
  );
  if (size > signedSize && (isClosed || ended.length > 1))
    fault('unsigned-entries', `no good checkpoint signs the last ${size - signedSize} of ${size} entries`);
}

const pinnedOf = ({ coordinatorKey, federation }: Pick<LogDocument, 'coordinatorKey' | 'federation'>) => ({
  coordinatorKey: fromHex(coordinatorKey),
  federationId: federation.federationId as FederationId,
});

/** The versions with the plans under which they were made; null where they do not hold, which is a fault. */
function lineageOf({ versions, federation, coordinatorKey }: LogDocument, fault: Fault): JudgedVersions | null {
  try {
    const checked = checkLineage(versions, { coordinatorKey: fromHex(coordinatorKey), federation });
    return { versions: checked, plans: plansOf(federation.plan, checked) };
  } catch (thrown) {
    fault(thrown instanceof StoreError ? thrown.code : 'version-damaged', errorMessage(thrown));
    return null;
  }
}

/** Every version is logged, and every logged version is there. */
function checkVersions(
  { versions }: LogDocument,
  entries: ReturnType<typeof readEntries>['entries'],
  fault: Fault,
): void {
  const logged = new Map(
    entries
      .filter(({ entry }) => ['round-published', 'phase-started', 'version-withdrawn'].includes(entry.type))
      .map(({ payload }) => [payload.version, payload]),
  );
  for (const { version, record, modelHash, adapter } of versions) {
    const payload = logged.get(version);
    logged.delete(version);
    const isLogged =
      payload?.resultHash === resultHashOf(fromHex(record)) &&
      payload.modelHash === modelHash &&
      payload.adapterDigest === adapter;
    if (!isLogged) fault('aggregate-tamper', `version ${version} is not the one that was logged when it was published`);
  }
  for (const version of logged.keys())
    fault('version-missing', `version ${String(version)} was published, and is not there any more`);
}

/** Every refused candidate has a signed record by which its plan's gate refuses it, and was not published under its round number. */
function checkRefusals(
  { coordinatorKey, versions }: LogDocument,
  lineage: JudgedVersions | null,
  entries: ReturnType<typeof readEntries>['entries'],
  fault: Fault,
): void {
  for (const { entry, payload } of entries) {
    if (entry.type !== 'candidate-refused') continue;
    const opened = openCanaryRecord(fromHex(coordinatorKey), {
      record: bytesIn(payload.record),
      signature: bytesIn(payload.signature),
    });
    if (!opened.ok) {
      fault(opened.error.code, `entry ${entry.sequence}: ${opened.error.detail}`);
      continue;
    }
    const wrong = lineage === null ? null : judgeRefusal(opened.value, lineage);
    if (wrong !== null)
      fault('refused-candidate', `round ${opened.value.roundIndex} was refused by the gate, and ${wrong}`);
    if (versions.some(({ roundIndex }) => roundIndex === opened.value.roundIndex))
      fault(
        'refused-candidate',
        `round ${opened.value.roundIndex} was refused by the gate, and published all the same`,
      );
  }
}

/** What was signed about a void round is of that round, which has no version, and names the model of a version. */
function checkVoids(
  { coordinatorKey, versions }: LogDocument,
  entries: ReturnType<typeof readEntries>['entries'],
  fault: Fault,
): void {
  for (const { entry, payload } of entries) {
    if (entry.type !== 'round-void' || payload.record === undefined) continue;
    const opened = openVoid(fromHex(coordinatorKey), bytesIn(payload.record));
    if (!opened.ok) {
      fault(opened.error.code, `entry ${entry.sequence}: ${opened.error.detail}`);
      continue;
    }
    const { roundIndex, modelHash } = opened.value;
    const isSound = roundIndex === payload.roundIndex && versions.some((version) => version.modelHash === modelHash);
    if (!isSound || versions.some((version) => version.roundIndex === roundIndex))
      fault('bad-void', `round ${roundIndex} is void with a model that no version has, or was published all the same`);
  }
}

/** What is wrong with a receipt, or null. */
function judgeReceipt(
  { proof, claims }: ReceiptDocument,
  document: LogDocument,
  tree: MerkleTree,
): { readonly code: string; readonly detail: string } | null {
  const told = (found: Violation) => ({ code: found.code, detail: describe(found) });
  const { federationId } = document.federation;
  if (
    claims !== undefined &&
    (claims.federationId !== federationId || claims.coordinatorKey !== document.coordinatorKey)
  )
    return { code: 'other-federation', detail: 'the receipt is of another federation or coordinator than the log' };
  const decoded = decodeCanonical(logProofFormat, fromHex(proof), 'receipt');
  if (!decoded.ok) return told(decoded.error);
  const { signed, entries } = decoded.value;
  const checkpoint = openCheckpoint(signed, pinnedOf(document));
  if (!checkpoint.ok) return told(checkpoint.error);
  const { size, root } = checkpoint.value;
  if (size > tree.size())
    return told(violation('log-fork', `the client was shown ${size} entries, the log has ${tree.size()}`));
  if (toHex(tree.root(size)) !== root)
    return told(violation('log-fork', `of the first ${size} entries the client was shown others than these`));
  const shown: JudgedProof['entries'][number][] = [];
  for (const proven of entries) {
    const opened = openProvenEntry(proven, checkpoint.value);
    if (!opened.ok) return told(opened.error);
    shown.push(opened.value);
  }
  const update = shown.find(({ entry }) => entry.type === 'update-stored')?.payload;
  if (claims === undefined || (update?.receipt === claims.receipt && update.roundIndex === claims.roundIndex))
    return null;
  const found = update === undefined ? 'no update' : `an update of round ${String(update.roundIndex)}`;
  return {
    code: 'changed-receipt',
    detail: `it is said to be of round ${claims.roundIndex}, receipt ${claims.receipt}, and proves ${found}, receipt ${String(update?.receipt)}`,
  };
}
