/** Every decoder that reads what others wrote, with valid samples of what it reads. */
import { strict as assert } from 'node:assert';
import * as z from 'zod/mini';
import {
  createAdapterDocument,
  encodeAdapterDocument,
  readAdapterTensors,
} from '../../shared/adapters/adapter-document.ts';
import { parseAdapterManifest } from '../../shared/adapters/adapter-manifest.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { equalBytes, fromHex, utf8 } from '../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../shared/crypto/identity.ts';
import { JsonListError, jsonElements } from '../../shared/data/json-records.ts';
import { encodeCertificate, encodeMember, readCertificate } from '../../shared/identity/certificate.ts';
import { decodeConsortium, encodeConsortium } from '../../shared/identity/consortium.ts';
import type { Serial } from '../../shared/identity/formats.ts';
import { encodeRevocations, readRevocations } from '../../shared/identity/revocations.ts';
import { readSafetensors, writeSafetensors } from '../../shared/model/safetensors.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeCanonical, encodeCanonical, type Format } from '../../shared/protocol/canonical.ts';
import { decodeMessage, decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { formatEnrolmentCode, parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { plainCalls, replies } from '../../shared/protocol/messages.ts';
import { decodeRoundParams, encodeRoundParams } from '../../shared/protocol/round-params.ts';
import {
  deliveryFormat,
  quorumFormat,
  rosterFormat,
  signedKinds,
  survivorsFormat,
} from '../../shared/secure-aggregation/messages.ts';
import { openStage, sealStage } from '../../shared/secure-aggregation/stage.ts';
import { initialValues, taskLayout } from '../../shared/training/initial-adapter.ts';
import { bertLike } from '../shared/adapters/bases.ts';
import { minimalPlan } from '../shared/plan/minimal-plan.ts';
import { roundHash, runCohort } from '../shared/secure-aggregation/cohort.ts';
import { protocolVectors } from '../vectors/vectors.ts';

/** A decoder of bytes: it returns, or throws an error of the federation. */
export interface ByteTarget {
  readonly name: string;
  readonly samples: readonly Uint8Array[];
  readonly decode: (bytes: Uint8Array) => unknown;
}

/** A decoder of parsed JSON or YAML. */
export interface ValueTarget {
  readonly name: string;
  readonly sample: unknown;
  readonly decode: (value: unknown) => unknown;
}

/** A canonical format: whatever it reads, it writes again byte for byte. */
function canonicalTarget<Value>(name: string, format: Format<Value>, samples: readonly Uint8Array[]): ByteTarget {
  return {
    name,
    samples,
    decode: (bytes) => {
      const decoded = decodeCanonical(format, bytes, name);
      if (decoded.ok)
        assert.ok(equalBytes(encodeCanonical(format, decoded.value), bytes), `${name}: a second encoding`);
      return decoded;
    },
  };
}

const identity = identityFromSeed(new Uint8Array(32).fill(7), engineCrypto);
const digest = 'ab'.repeat(32) as Digest;

/** Messages of both directions of one masked round. */
function roundTargets(): ByteTarget[] {
  const down: Uint8Array[][] = [[], [], [], []];
  const frames: Uint8Array[] = [];
  const { sent } = runCohort({
    clientCount: 4,
    bend: (event) => {
      if (event.type === 'roster') down[0]!.push(encodeCanonical(rosterFormat, event.roster));
      if (event.type === 'delivery') down[1]!.push(encodeCanonical(deliveryFormat, event.delivery));
      if (event.type === 'survivors') down[2]!.push(encodeCanonical(survivorsFormat, event.survivors));
      if (event.type === 'quorum') down[3]!.push(encodeCanonical(quorumFormat, event.quorum));
      if (event.type === 'roster' || event.type === 'quorum') frames.push(sealStage(identity, { roundHash, event }));
      return event;
    },
  });
  const bodies = (type: string): Uint8Array[] =>
    sent.flatMap((event) => (event.type === type && 'body' in event ? [event.body] : []));
  return [
    canonicalTarget('M1', signedKinds.ADVERT, bodies('advert')),
    canonicalTarget('M2', signedKinds.SHARES, bodies('shares')),
    canonicalTarget('M3', signedKinds.MASKED, bodies('masked')),
    canonicalTarget('M4', signedKinds.AGREE, bodies('agree')),
    canonicalTarget('M5', signedKinds.UNMASK, bodies('unmask')),
    canonicalTarget('R1', rosterFormat, down[0]!),
    canonicalTarget('R2', deliveryFormat, down[1]!),
    canonicalTarget('R3', survivorsFormat, down[2]!),
    canonicalTarget('R4', quorumFormat, down[3]!),
    { name: 'stage', samples: frames, decode: (bytes) => openStage(identity.publicKey, bytes) },
  ];
}

function documentTargets(): ByteTarget[] {
  const base = bertLike(1, 4, 8);
  const adapter = parseAdapter({ method: 'lora', rank: 1 }, base);
  const task = { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 16 } as const;
  const layout = taskLayout(adapter, base, task);
  const document = createAdapterDocument({
    base,
    adapter: adapter.configuration,
    task,
    layout,
    parameters: initialValues(layout, adapter, 1),
  });
  const encoded = encodeAdapterDocument(document);
  const tensors = writeSafetensors(
    new Map([
      ['a', { shape: [2, 3], values: new Float32Array(6) }],
      ['b', { shape: [], values: new Float32Array(1) }],
    ]),
    { format: 'pt' },
  );
  return [
    { name: 'safetensors', samples: [tensors], decode: (bytes) => readSafetensors(bytes, 'fuzz') },
    { name: 'adapter.json', samples: [encoded.manifest], decode: (bytes) => parseAdapterManifest(bytes, 'fuzz') },
    {
      name: 'adapter.safetensors',
      samples: [encoded.tensors],
      decode: (bytes) => readAdapterTensors(document, bytes, 'fuzz'),
    },
  ];
}

function identityTargets(): ByteTarget[] {
  const member = encodeMember({
    consortium: digest,
    clientId: identity.clientId,
    publicKey: identity.publicKey,
    organisation: 'Clinic',
    notBeforeMs: 1,
    notAfterMs: 2,
    serial: 'a1'.repeat(16) as Serial,
    epoch: 0,
  });
  const certificate = encodeCertificate({ member, signatures: [], rotation: null });
  const revocations = encodeRevocations({
    consortium: digest,
    number: 1,
    issuedMs: 5,
    revoked: [{ serial: 'a1'.repeat(16) as Serial, fromMs: 5 }],
  });
  const consortium = encodeConsortium({ name: 'Hospitals', threshold: 1, keys: [identity.publicKey] });
  const code = formatEnrolmentCode({
    url: 'https://example.org',
    federationId: digest as string as FederationId,
    coordinatorKey: identity.publicKey,
    token: new Uint8Array(32).fill(3),
    approval: 'automatic',
    consortium: digest,
  });
  return [
    { name: 'certificate', samples: [certificate], decode: readCertificate },
    { name: 'revocations', samples: [revocations], decode: readRevocations },
    { name: 'consortium', samples: [consortium], decode: decodeConsortium },
    {
      name: 'enrolment code',
      samples: [utf8(code)],
      decode: (bytes) => parseEnrolmentCode(new TextDecoder().decode(bytes)),
    },
  ];
}

function frameTargets(): ByteTarget[] {
  const call = encodeMessage({
    roundHash: digest,
    kind: 'SHARES',
    body: new Uint8Array(9),
    signature: new Uint8Array(64),
  });
  const reply = encodeMessage({ ok: true, size: 5, chunkDigests: [digest, digest] });
  const nested = encodeMessage({
    list: [1, [2, { three: 3n, four: -5, five: 0.5, six: 'text', seven: null, eight: true }]],
  });
  return [
    { name: 'message', samples: [call, reply, nested], decode: (bytes) => decodeMessage(z.unknown(), bytes) },
    { name: 'call', samples: [call], decode: (bytes) => decodeMessage(plainCalls.masked, bytes) },
    { name: 'reply', samples: [reply], decode: (bytes) => decodeReply(replies['fetch-manifest'], bytes) },
  ];
}

/** Decoders of bytes. */
export function byteTargets(): ByteTarget[] {
  return [
    ...frameTargets(),
    ...roundTargets(),
    {
      name: 'round parameters',
      samples: [fromHex(protocolVectors.roundParams.bytes)],
      decode: (bytes) => {
        const decoded = decodeRoundParams(bytes);
        if (decoded.ok) assert.ok(equalBytes(encodeRoundParams(decoded.value), bytes), 'a second encoding');
      },
    },
    ...identityTargets(),
    ...documentTargets(),
  ];
}

/** Decoders of values. */
export function valueTargets(): ValueTarget[] {
  return [
    { name: 'plan', sample: minimalPlan(), decode: (value) => parsePlan(value, 'fuzz') },
    {
      name: 'policy',
      sample: { format: 'tributary-policy-1', methods: ['lora'], baseDigests: [digest], cohortMin: 4, rankMax: 8 },
      decode: (value) => parsePolicy(value, 'fuzz'),
    },
  ];
}

/** The elements of a JSON document in chunks of `chunkSize`. Errors of the document itself are its own. */
export async function readJsonList(text: string, chunkSize: number): Promise<void> {
  async function* chunks(): AsyncGenerator<string> {
    for (let at = 0; at < text.length; at += chunkSize) yield text.slice(at, at + chunkSize);
  }
  try {
    for await (const _ of jsonElements(chunks(), 1000));
  } catch (error) {
    if (!(error instanceof JsonListError)) throw error;
  }
}
