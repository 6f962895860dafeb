/**
 * The uploads of one round: chunks are checked as they arrive, and an update counts once its blob and its record are durable. Everything is
 * idempotent, because a client repeats what it got no answer to. Memory: a few hundred bytes per client; the blob store bounds what it keeps
 * of the chunks, whatever the number of clients.
 */
import { fromHex, utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { CoordinatorBlobs, StagedBlob } from '../store/blobs.ts';
import type { CoordinatorStore, UpdateRecord } from '../store/store.ts';
import type { Announcement, RoundDemands } from './admission.ts';
import { judgeAnnouncement, judgeChunk, judgeValues } from './admission.ts';

/** An update that is durable; `isNew` when this commit made it so. */
export interface Committed {
  readonly update: UpdateRecord;
  readonly isNew: boolean;
}

/** Uploads of one round. */
export interface Uploads {
  /** Begins or resumes an upload: indices of the chunks that are still missing. `bodyHash` identifies the signed announcement. */
  announce(
    clientId: ClientId,
    bodyHash: Digest,
    announced: Announcement,
  ): Promise<Result<readonly number[], Violation>>;
  chunk(clientId: ClientId, roundHash: Digest, index: number, bytes: Uint8Array): Promise<Result<null, Violation>>;
  /** Checks the whole and makes it durable; the same receipt every time. */
  commit(clientId: ClientId, roundHash: Digest): Promise<Result<Committed, Violation>>;
  /** Deletes what is not durable; no call succeeds afterwards. */
  close(): Promise<void>;
}

interface Upload {
  readonly bodyHash: Digest;
  readonly announced: Announcement;
  readonly staged: StagedBlob;
  readonly missing: Set<number>;
  /** What is wrong with the values that arrived: told at the commit, once for the whole update. */
  fault: Violation | null;
  /** The commit under way: a client that asks again hears the same. */
  commit: Promise<Result<Committed, Violation>> | null;
}

/** Receipt of an update: what a client can show to prove that the coordinator had it. */
export function receiptOf(roundHash: Digest, clientId: ClientId, bodyHash: Digest): Digest {
  return digestOf(utf8('TRIB-RECEIPT'), fromHex(roundHash), fromHex(clientId), fromHex(bodyHash));
}

/** No uploads yet. */
export function createUploads(options: {
  readonly demands: RoundDemands;
  readonly store: Pick<CoordinatorStore, 'addUpdate'>;
  readonly blobs: Pick<CoordinatorBlobs, 'stage'>;
}): Uploads {
  const { demands, store, blobs } = options;
  const { roundIndex, roundHash } = demands;
  const uploads = new Map<ClientId, Upload>();
  const done = new Map<ClientId, UpdateRecord>();
  let isOpen = true;

  const closed = (hash: Digest): Violation | null =>
    isOpen && hash === roundHash
      ? null
      : violation('stale-round', `the uploads of round ${hash} are closed`, roundIndex);
  const unknown = (): Violation => violation('unknown-upload', 'announce the update before its chunks', roundIndex);
  const discard = async (clientId: ClientId, upload: Upload): Promise<void> => {
    uploads.delete(clientId);
    await upload.staged.discard();
  };

  const finish = async (clientId: ClientId, upload: Upload): Promise<Result<Committed, Violation>> => {
    try {
      if (upload.fault !== null) return refuse(upload.fault);
      const { bodyHash, announced } = upload;
      const delta = announced.vecRoot;
      await upload.staged.commit(delta);
      const receipt = receiptOf(roundHash, clientId, bodyHash);
      const record = { roundIndex, clientId, bodyHash, delta, exampleCount: announced.exampleCount, receipt };
      const update = await store.addUpdate(record);
      done.set(clientId, update);
      return succeed({ update, isNew: true });
    } finally {
      // Stored, refused or failed: whoever wants to try again announces again.
      await discard(clientId, upload);
    }
  };

  return {
    announce: async (clientId, bodyHash, announced) => {
      const refused = closed(announced.roundHash) ?? judgeAnnouncement(demands, announced);
      if (refused !== null) return refuse(refused);
      const earlier = done.get(clientId)?.bodyHash ?? uploads.get(clientId)?.bodyHash;
      if (earlier !== undefined && earlier !== bodyHash) {
        const detail = `announced body ${bodyHash} after body ${earlier}, both signed by this client`;
        return refuse(violation('conflicting-update', detail, roundIndex));
      }
      if (done.has(clientId)) return succeed([]);
      let upload = uploads.get(clientId);
      if (upload === undefined) {
        const missing = new Set(announced.chunkDigests.keys());
        upload = { bodyHash, announced, staged: blobs.stage(), missing, fault: null, commit: null };
        uploads.set(clientId, upload);
      }
      return succeed([...upload.missing]);
    },
    chunk: async (clientId, hash, index, bytes) => {
      const upload = uploads.get(clientId);
      const late = closed(hash);
      if (late !== null) return refuse(late);
      if (done.has(clientId)) return succeed(null);
      if (upload === undefined) return refuse(unknown());
      const refused = judgeChunk(demands, upload.announced, index, bytes);
      if (refused !== null) return refuse(refused);
      if (!upload.missing.has(index)) return succeed(null);
      upload.fault ??= judgeValues(demands, index, bytes);
      await upload.staged.write(index, bytes);
      upload.missing.delete(index);
      return succeed(null);
    },
    commit: async (clientId, hash) => {
      const earlier = done.get(clientId);
      if (earlier !== undefined && hash === roundHash) return succeed({ update: earlier, isNew: false });
      const late = closed(hash);
      if (late !== null) return refuse(late);
      const upload = uploads.get(clientId);
      if (upload === undefined) return refuse(unknown());
      if (upload.missing.size > 0) {
        return refuse(violation('missing-chunks', `${upload.missing.size} chunks are missing`, roundIndex));
      }
      if (upload.commit !== null) {
        const first = await upload.commit;
        return first.ok ? succeed({ ...first.value, isNew: false }) : first;
      }
      upload.commit = finish(clientId, upload);
      return upload.commit;
    },
    close: async () => {
      isOpen = false;
      // What is being made durable is waited for; whoever fails there hears it from the call.
      await Promise.allSettled([...uploads.values()].flatMap(({ commit }) => commit ?? []));
      for (const [clientId, upload] of new Map(uploads)) await discard(clientId, upload);
    },
  };
}
