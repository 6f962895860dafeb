/** Decoders of the coordinator's log: of what auditors and clients are shown of it. */
import { parseReceipt, readLogFile, writeLogFile } from '../../coordinator/audit/log-file.ts';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { openCheckpoint } from '../../shared/audit/checkpoint.ts';
import { entryFormat } from '../../shared/audit/entry.ts';
import { leafHashOf } from '../../shared/audit/merkle.ts';
import { encodeLogProof, logProofFormat, openLogProof, openProvenEntry } from '../../shared/audit/proof.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { decodeCanonical, encodeCanonical } from '../../shared/protocol/canonical.ts';
import { joinClient } from '../coordinator/fake-client.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan } from '../coordinator/harness.ts';
import { type ByteTarget, canonicalTarget, textTarget, type ValueTarget } from './fuzz-target.ts';

/** The log of a published and a void round, as it is exported, and the proof that a client got. */
async function auditedRounds() {
  const state = memoryState(seededEntropy(78));
  const world = await startWorld({
    plan: testPlan({ rounds: { count: 1 }, evaluation: { everyRounds: 0 } }),
    state,
  });
  const clients = [await joinClient(world, 5), await joinClient(world, 6)];
  for (const client of clients) await client.accept();
  const receipts = [];
  for (const client of clients) {
    const stored = await client.upload(Float32Array.of(1, 2, 3), 10);
    if (stored.ok) receipts.push(stored.value.receipt);
    // Evidence stands in the log, too.
    if (client === clients[0]) await client.upload(Float32Array.of(9, 9, 9), 10);
  }
  await settled();
  const answer = await clients[0]!.plain('prove', { size: 0, roundIndex: 0, receipt: receipts[0]! });
  if (!answer.ok) throw new Error(answer.error.detail);
  const document = {
    federation: (await state.store.federation())!,
    coordinatorKey: toHex(state.identity.publicKey),
    rows: await state.store.log.rows(0),
    checkpoints: await state.store.log.checkpoints(),
    versions: await state.store.versions(),
  };
  await closeWorlds();
  return { identity: state.identity, document, proof: answer.value.proof };
}

/** What a log is verified from, line by line, with a receipt. */
export async function logTarget(): Promise<ValueTarget> {
  const { document, proof } = await auditedRounds();
  const sample: unknown[] = writeLogFile(document)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
  return {
    name: 'lines of a log',
    sample,
    decode: (value) => {
      const lines = Array.isArray(value) ? value : [value];
      const text = lines.map((line) => JSON.stringify(line) ?? '').join('\n');
      return verifyLog(readLogFile(text, 'fuzz'), [{ source: 'receipt', proof: toHex(proof) }]);
    },
  };
}

/** What is changed is signed again, or its hashes are made to fit, where they would hide the change. */
export async function auditTargets(): Promise<ByteTarget[]> {
  const { identity, document, proof } = await auditedRounds();
  const { federationId } = document.federation;
  const pinned = { coordinatorKey: identity.publicKey, federationId };
  const known = { size: 0, root: '00'.repeat(32) as never };
  const decoded = decodeCanonical(logProofFormat, proof, 'proof');
  if (!decoded.ok) throw new Error(decoded.error.detail);
  const { signed, entries } = decoded.value;
  const first = entries[0]!;
  const checkpoint = openCheckpoint(signed, pinned);
  if (!checkpoint.ok) throw new Error(checkpoint.error.detail);
  const verify = (text: string): unknown =>
    verifyLog(readLogFile(text, 'fuzz'), [{ source: 'receipt', proof: toHex(proof) }]);
  // The only entry of a log of its own.
  const about = decodeCanonical(entryFormat, fromHex(document.rows[0]!.entry), 'entry');
  if (!about.ok) throw new Error(about.error.detail);
  return [
    canonicalTarget(
      'log entry',
      entryFormat,
      document.rows.map(({ entry }) => fromHex(entry)),
    ),
    canonicalTarget('log proof', logProofFormat, [proof]),
    {
      name: 'checkpoint',
      samples: [signed.checkpoint],
      decode: (bytes) => openCheckpoint({ checkpoint: bytes, signature: identity.sign('CHECKPOINT', bytes) }, pinned),
    },
    { name: 'proof of a log', samples: [proof], decode: (bytes) => openLogProof(bytes, { ...pinned, known }) },
    textTarget('details of an entry', [document.rows[0]!.payload], (payload) => {
      const entry = encodeCanonical(entryFormat, { ...about.value, payloadHash: digestOf(utf8(payload)) });
      const head = { size: 1, root: toHex(leafHashOf(entry)) as Digest };
      return openProvenEntry({ entry, payload, path: [] }, head);
    }),
    textTarget('proven entry', [first.payload], (payload) => openProvenEntry({ ...first, payload }, checkpoint.value)),
    {
      name: 'proof with other entries',
      samples: [encodeLogProof({ ...decoded.value, entries: [] })],
      decode: (bytes) => openLogProof(bytes, { ...pinned, known }),
    },
    textTarget('log file', [writeLogFile(document)], verify),
    textTarget(
      'file of a receipt',
      [
        JSON.stringify({
          format: 'tributary-receipt-1',
          federationId,
          coordinatorKey: document.coordinatorKey,
          roundIndex: 0,
          receipt: 'ab'.repeat(32),
          proof: toHex(proof),
        }),
      ],
      (text) => verifyLog(document, [parseReceipt(text, 'fuzz')]),
    ),
    textTarget('receipt', [toHex(proof)], (hex) =>
      verifyLog(document, [{ source: 'receipt', proof: hex.replaceAll(/[^0-9a-f]/g, '0') }]),
    ),
  ];
}
