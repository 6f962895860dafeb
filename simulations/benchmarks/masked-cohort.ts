/** One masked round of the two machines without a network, with the time that the first client and the coordinator spend on it. */
import { openSum } from '../../coordinator/masking/masked-sum.ts';
import { createMemoryBlobs } from '../../coordinator/store/blob-memory.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { succeed } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { createIdentity } from '../../shared/crypto/identity.ts';
import { createKeyStream } from '../../shared/crypto/key-stream.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';
import { receiveAsClient, startAttempt } from '../../shared/secure-aggregation/client-machine.ts';
import type { ClientEvent, ClientStep } from '../../shared/secure-aggregation/client-state.ts';
import { encodeContribution, tailWords } from '../../shared/secure-aggregation/contribution.ts';
import { maskThreads } from '../../shared/secure-aggregation/mask-threads.node.ts';
import type { Encoding } from '../../shared/secure-aggregation/quantise.ts';
import { openAttempt, receiveAsServer } from '../../shared/secure-aggregation/server-machine.ts';
import type { Opening, ServerEvent, ServerState } from '../../shared/secure-aggregation/server-state.ts';
import { encodeVector } from '../../shared/secure-aggregation/vector-bytes.ts';

/** Milliseconds of one round. */
export interface CohortTimes {
  /** Everything that the first client does: keys, shares, encoding, masks, hashes, answers. */
  readonly clientMs: number;
  /** Adding the survivors' vectors and taking the masks off. */
  readonly serverUnmaskMs: number;
  /** Bytes of one upload. */
  readonly uploadBytes: number;
}

const roundHash = 'ab'.repeat(32) as Digest;
const certificate = utf8('site');

/** Runs a round of `clientCount` clients of which the last `vanishedCount` deal shares and are gone; all upload the same masked bytes. */
export async function timeCohort(options: {
  readonly clientCount: number;
  readonly vanishedCount: number;
  readonly delta: Float32Array;
  readonly encoding: Encoding;
}): Promise<CohortTimes> {
  const { clientCount, vanishedCount, delta, encoding } = options;
  const bounds = { clientCountMin: 3, clientCountMax: 128, organisationCountMin: 1 };
  const judgeCertificate = () => succeed('site');
  const shared = { roundHash, profile: 'active', ...bounds, judgeCertificate } as const;
  const identities = Array.from({ length: clientCount }, () => createIdentity(systemEntropy, engineCrypto));
  const placeOf = new Map(identities.map(({ clientId }, index) => [clientId, index]));
  const invited = identities.map(({ clientId }) => clientId);
  let server: ServerState = openAttempt({ ...shared, invited, vectorBytes: 0 });
  let clientMs = 0;
  let upload: Uint8Array = new Uint8Array(0);
  let digests: Digest[] = [];
  let opening: Opening | null = null;
  const timed = <Value>(index: number, work: () => Value): Value => {
    const startedMs = performance.now();
    const value = work();
    if (index === 0) clientMs += performance.now() - startedMs;
    return value;
  };
  const checkpoint = { size: 0, root: '00'.repeat(32) as Digest };
  const steps: ClientStep[] = identities.map(({ clientId }, index) =>
    timed(index, () =>
      startAttempt({
        ...shared,
        ...{ clientId, checkpoint },
        certificateHash: digestOf(certificate),
        entropy: systemEntropy,
      }),
    ),
  );

  /** Performs what a client wants until it waits; messages go to the server. */
  const settle = async (index: number): Promise<void> => {
    const identity = identities[index]!;
    for (;;) {
      let answer: ClientEvent | null = null;
      for (const effect of steps[index]!.effects) {
        if (effect.type === 'sign')
          answer = { type: 'signed', signature: timed(index, () => identity.sign(effect.kind, effect.body)) };
        if (effect.type === 'journal') answer = { type: 'journaled', isFirst: true };
        if (effect.type === 'mask-vector') {
          // One client's masks are what a round costs a client; the others upload the same bytes.
          if (index === 0) {
            const startedMs = performance.now();
            const rounding = createKeyStream(1, new Uint8Array(32));
            const contribution = { values: delta, weight: 1, exampleCount: 1, meanLoss: 1 };
            const masked = encodeContribution(contribution, encoding, rounding);
            await maskThreads.apply(masked, effect.masks, 1);
            upload = encodeVector(masked);
            digests = chunkDigests(upload);
            clientMs += performance.now() - startedMs;
          }
          answer = { type: 'vector-masked', vecRoot: vectorRoot(chunkBytesMax, digests), chunkDigests: digests };
        }
        if (effect.type === 'send') {
          const { clientId, publicKey } = identity;
          const said = { clientId, body: effect.body, signature: effect.signature };
          const kind = effect.kind.toLowerCase() as Lowercase<typeof effect.kind>;
          if (kind === 'masked' && index >= clientCount - vanishedCount) return;
          hear(kind === 'advert' ? { type: kind, ...said, publicKey, certificate } : { type: kind, ...said });
        }
      }
      if (answer === null) return;
      const event = answer;
      steps[index] = timed(index, () => receiveAsClient(steps[index]!.state, event));
    }
  };
  const queue: { readonly index: number; readonly event: ClientEvent }[] = [];
  const tell = (clients: readonly ClientId[], event: ClientEvent): void => {
    for (const clientId of clients) queue.push({ index: placeOf.get(clientId)!, event });
  };
  const hear = (event: ServerEvent): void => {
    const step = receiveAsServer(server, event);
    server = step.state;
    for (const effect of step.effects) {
      if (effect.type === 'send-roster') tell(effect.clients, { type: 'roster', roster: effect.roster });
      if (effect.type === 'send-delivery') tell([effect.clientId], { type: 'delivery', delivery: effect.delivery });
      if (effect.type === 'send-survivors') tell(effect.clients, { type: 'survivors', survivors: effect.survivors });
      if (effect.type === 'send-quorum') tell(effect.clients, { type: 'quorum', quorum: effect.quorum });
      if (effect.type === 'open-sum') opening = effect.opening;
    }
  };
  for (const index of steps.keys()) await settle(index);
  for (let deadlines = 0; deadlines < 6 && opening === null; ) {
    const message = queue.shift();
    if (message === undefined) {
      deadlines++;
      hear({ type: 'deadline' });
      continue;
    }
    const { index, event } = message;
    steps[index] = timed(index, () => receiveAsClient(steps[index]!.state, event));
    await settle(index);
  }
  const found = opening as Opening | null;
  if (found === null) throw new Error(`nothing was opened: ${JSON.stringify(server.phase)}`);
  const blobs = createMemoryBlobs();
  const staged = blobs.stage();
  for (const index of digests.keys())
    await staged.write(index, upload.subarray(index * chunkBytesMax, (index + 1) * chunkBytesMax));
  const root = vectorRoot(chunkBytesMax, digests);
  await staged.commit(root);
  const roots = found.survivors.map(() => root);
  const shape = { ringBits: encoding.ringBits, dim: delta.length, tail: tailWords };
  const startedMs = performance.now();
  await openSum({ shape, suite: 1, roots, opening: found, blobs });
  return { clientMs, serverUnmaskMs: performance.now() - startedMs, uploadBytes: upload.length };
}
