/**
 * The uploads of one round: chunks go to the disk as they arrive, and an update counts once its blob and its record are durable. Everything
 * is idempotent, because a client repeats what it got no answer to. Memory: a few hundred bytes per client, and `commitsAtOnce` deltas while
 * they are checked, whatever the number of clients.
 */
import { fromHex, utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import type { Result } from '../../shared/core/result.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { CoordinatorBlobs, StagedBlob } from '../store/blobs.ts';
import type { CoordinatorStore, UpdateRecord } from '../store/store.ts';
import type { Announcement, RoundDemands } from './admission.ts';
import { judgeAnnouncement, judgeChunk, judgeDelta } from './admission.ts';

/** An update that is durable; `isNew` when this commit made it so. */
export interface Committed {
  readonly update: UpdateRecord;
  readonly isNew: boolean;
}

/** Deltas that are checked and flushed at once: enough to overlap the disk's flushes, little enough to bound memory. */
const commitsAtOnce = 4;

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
  readonly staged: Promise<StagedBlob>;
  readonly missing: Set<number>;
  /** The commit under way: a client that asks again hears the same. */
  commit: Promise<Result<Committed, Violation>> | null;
}

/** Receipt of an update: what a client can show to prove that the coordinator had it. */
function receiptOf(roundHash: Digest, clientId: ClientId, bodyHash: Digest): Digest {
  return digestOf(utf8('TRIB-RECEIPT'), fromHex(roundHash), fromHex(clientId), fromHex(bodyHash));
}

/** No uploads yet. */
export function createUploads(options: {
  readonly demands: RoundDemands;
  readonly store: CoordinatorStore;
  readonly blobs: CoordinatorBlobs;
}): Uploads {
  const { demands, store, blobs } = options;
  const { roundIndex, roundHash } = demands;
  const uploads = new Map<ClientId, Upload>();
  const done = new Map<ClientId, UpdateRecord>();
  let isOpen = true;
  const inTurn = createSlots(commitsAtOnce);

  const closed = (hash: Digest): Violation | null =>
    isOpen && hash === roundHash
      ? null
      : violation('stale-round', `the uploads of round ${hash} are closed`, roundIndex);
  const unknown = (): Violation => violation('unknown-upload', 'announce the update before its chunks', roundIndex);
  const discard = async (clientId: ClientId, upload: Upload): Promise<void> => {
    uploads.delete(clientId);
    await (await upload.staged).discard();
  };

  const finish = async (clientId: ClientId, upload: Upload): Promise<Result<Committed, Violation>> => {
    const staged = await upload.staged;
    try {
      const whole = await staged.bytes();
      const refused = judgeDelta(demands, whole);
      if (refused !== null) return refuse(refused);
      const { bodyHash, announced } = upload;
      const delta = await staged.commit(whole);
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
        upload = { bodyHash, announced, staged: blobs.stage(demands.dim * 4), missing, commit: null };
        uploads.set(clientId, upload);
      }
      try {
        await upload.staged;
      } catch (thrown) {
        // A full disk now may have room later: the client announces again.
        uploads.delete(clientId);
        throw thrown;
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
      const staged = await upload.staged;
      if (uploads.get(clientId) !== upload) return refuse(closed(hash) ?? unknown());
      await staged.write(index * chunkBytesMax, bytes);
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
      upload.commit = inTurn(() => finish(clientId, upload));
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

/** Runs at most `count` tasks at once, the others in the order in which they came. */
function createSlots(count: number): <Value>(task: () => Promise<Value>) => Promise<Value> {
  const waiting: (() => void)[] = [];
  let free = count;
  return async (task) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
