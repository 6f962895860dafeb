/**
 * Broken machines: production's sources with one sentence changed, loaded beside the true ones. A mutant whose sentence is not found any more
 * fails, so that none is forgotten when the sources change.
 */
import { strict as assert } from 'node:assert';
import { registerHooks } from 'node:module';
import type * as SessionMachine from '../../client/session/machine.ts';
import type * as RoundMachine from '../../coordinator/rounds/machine.ts';
import type { FederationMachines } from '../../simulations/world/federation-machines.ts';
import type { Machines } from '../../simulations/world/machines.ts';

interface Mutant {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

const client = 'shared/secure-aggregation/client-machine.ts';
const server = 'shared/secure-aggregation/server-machine.ts';
const members = 'shared/secure-aggregation/members.ts';
const grouped = 'shared/secure-aggregation/grouped-client.ts';
const certificates = 'shared/identity/certificate.ts';
const policy = 'shared/plan/policy.ts';
const trust = 'client/trust.ts';
const rounds = 'coordinator/rounds';

/** Every broken machine, by what it leaves out. */
const mutants = {
  'skip-quorum-check': {
    file: client,
    find: 'if (consenting.size < least || (least > 0 && !consenting.has(place)))',
    put: 'if (consenting.size < 0)',
  },
  'other-survivors-quorum': {
    file: client,
    find: "if (quorum.survivorsHash !== survivorsHash) return fail(state, 'no-quorum', 'the consents are to other survivors');",
    put: '',
  },
  'no-signature-in-quorum': {
    file: client,
    find: "if (verifyStrict(members[signer]!.publicKey, 'AGREE', body, signature)) consenting.add(signer);",
    put: 'consenting.add(signer);',
  },
  'count-strangers': {
    file: client,
    find: 'if (!dealers.includes(signer)) continue;',
    put: 'if (!dealers.includes(signer)) { consenting.add(signer); continue; }',
  },
  'count-signatures': {
    file: client,
    find: 'consenting.add(signer);',
    put: 'consenting.add(signer + 1000 * consenting.size);',
  },
  'goes-back': {
    file: client,
    find: `export function receiveAsClient(state: ClientState, event: ClientEvent): ClientStep {
  const { phase } = state;`,
    put: `const consented = new WeakMap();
export function receiveAsClient(given: ClientState, event: ClientEvent): ClientStep {
  if (given.phase.name === 'masked') consented.set(given.setting, structuredClone(given.phase));
  const isAgain = event.type === 'survivors' && (given.phase.name === 'agreed' || given.phase.name === 'unmasked');
  const state = isAgain ? { ...given, phase: structuredClone(consented.get(given.setting)) } : given;
  const { phase } = state;`,
  },
  'drop-journal': { file: client, find: 'if (!isFirst)', put: 'if (isFirst === null)' },
  'leave-one-mask-in': {
    file: 'shared/secure-aggregation/opening.ts',
    find: 'for (const { place, secret } of survivors) yield',
    put: 'for (const { place, secret } of survivors.slice(1)) yield',
  },
  'accept-s-plus-l': {
    file: 'shared/crypto/verify.ts',
    find: 'if (!isBelow(signature.subarray(32), groupOrder) || !isSoundPoint(signature.subarray(0, 32))) return false;',
    put: 'if (!isBelow(signature.subarray(32), groupOrder)) engine = null;',
  },
  'same-keys': {
    file: client,
    find: 'const { entropy, roundHash, clientId, certificateHash, checkpoint } = setting;',
    put: 'const { roundHash, clientId, certificateHash, checkpoint } = setting; let calls = 0; const entropy = { bytes: () => Uint8Array.from({ length: 32 }, (_, at) => parseInt(clientId.slice(2 * at, 2 * at + 2), 16) ^ calls) }; calls++;',
  },
  'survivors-beyond-dealers': { file: client, find: 'if (stranger !== undefined)', put: 'if (stranger === null)' },
  'reveal-both': {
    file: client,
    find: 'const shares = dealers.map((dealer) => {',
    put: 'const shares = dealers.flatMap((dealer) => { const both = held.get(dealer) ?? null; if (both !== null) return [{ dealer, share: both.mask }, { dealer, share: both.self }];',
  },
  'no-threshold': {
    file: 'shared/secure-aggregation/threshold.ts',
    find: '    shares,\n    quorum',
    put: '    shares: 2,\n    quorum',
  },
  'skip-group-threshold': {
    file: server,
    find: "if (stored.size < least) return below(state, 'survivors', stored.size, least);",
    put: '',
  },
  'unsigned-roster': {
    file: members,
    find: "if (!verifyStrict(publicKey, 'ADVERT', advert, signature))",
    put: 'if (false)',
  },
  'no-wiping': {
    file: client,
    find: 'function wipe(phase: ClientPhase): void {',
    put: 'function wipe(phase: ClientPhase): void { return;',
  },
  'any-certificate': {
    file: members,
    find: 'if (!organisation.ok) return organisation;',
    put: 'if (!organisation.ok) return succeed({ place, clientId, publicKey, organisation: String(place), advert: decoded.value });',
  },
  'any-signer': {
    file: certificates,
    find: 'if (count >= facts.consortium.threshold) return succeed(member);',
    put: 'if (count >= 0) return succeed(member);',
  },
  'any-expiry': { file: certificates, find: 'if (nowMs >= notAfterMs)', put: 'if (nowMs < 0)' },
  'any-revocation': {
    file: certificates,
    find: 'if (isRevoked(revocations, member.serial, nowMs))',
    put: 'if (nowMs < 0)',
  },
  'small-orders': {
    file: 'shared/crypto/verify.ts',
    find: `if (signature.length !== keyBytes.signature || !isSoundPublicKey(publicKey)) return false;
  if (!isBelow(signature.subarray(32), groupOrder) || !isSoundPoint(signature.subarray(0, 32))) return false;`,
    put: 'if (!isBelow(signature.subarray(32), groupOrder)) return false; if (smallOrders.has(toHex(publicKey))) engine = null;',
  },
  'any-own-keys': {
    file: members,
    find: 'return equalBytes(entry.advert, own.advert) && equalBytes(entry.signature, own.signature);',
    put: "const idIn = (advert: Uint8Array) => { const read = decodeCanonical(advertFormat, advert, 'M1'); return read.ok ? read.value.clientId : null; }; return idIn(entry.advert) === idIn(own.advert);",
  },
  'any-boxes': {
    file: client,
    find: 'if (delivery.boxes.map(({ dealer }) => dealer).join() !== expected.join())',
    put: 'if (delivery.boxes.length < 0)',
  },
  'unopened-boxes': {
    file: 'shared/secure-aggregation/dealing.ts',
    find: `const text = openBox(key, box);
  key.fill(0);
  if (text === null) return null;
  const [mask, self] = [text.slice(0, secretBytes), text.slice(secretBytes)];
  text.fill(0);
  const isTrue =
    shareHashOf(rosterHash, pair, 'mask', mask) === maskHash &&
    shareHashOf(rosterHash, pair, 'self', self) === selfHash;
  return isTrue ? { mask, self } : null;`,
    put: 'return { mask: box.slice(0, secretBytes), self: box.slice(0, secretBytes) };',
  },
  'no-self-mask': {
    file: client,
    find: 'const masks: MaskToApply[] = [{ seed: selfMaskSeed(secrets.self, rosterHash, place), sign: 1 }];',
    put: 'const masks: MaskToApply[] = [];',
  },
  'any-profile': {
    file: policy,
    find: "!masked || plan.secureAggregation.profile === 'active' || policy.maskedProfile === 'semi-honest',",
    put: 'true,',
  },
  'any-ring': {
    file: policy,
    find: "!masked || policy.ringBits === 'any' || policy.ringBits === ringBits,",
    put: 'true,',
  },
  'any-clip': {
    file: policy,
    find: "!masked || policy.clipNormMax === 'none' || (clipNorm !== 'none' && clipNorm <= policy.clipNormMax),",
    put: 'true,',
  },
  'any-round': { file: members, find: 'if (decoded.value.roundHash !== roundHash)', put: 'if (false)' },
  'any-size': {
    file: members,
    find: 'if (entries.length < clientCountMin || entries.length > clientCountMax)',
    put: 'if (false)',
  },
  'few-survivors': { file: client, find: 'if (survivors.length < least)', put: 'if (false)' },
  'few-organisations': { file: client, find: 'if (organisations < organisationCountMin)', put: 'if (false)' },
  'any-order-keys': {
    file: members,
    find: 'if (![decoded.value.boxKey, decoded.value.maskKey].every(isSoundAgreementKey))',
    put: 'if (false)',
  },
  'any-roster-delivery': {
    file: client,
    find: 'if (delivery.rosterHash !== rosterHash || dealers === null)',
    put: 'if (dealers === null)',
  },
  'any-share': {
    file: 'shared/secure-aggregation/dealing.ts',
    find: 'return isTrue ? { mask, self } : null;',
    put: 'return { mask, self };',
  },
  'any-answer': {
    file: server,
    find: 'if (shareHashOf(members.rosterHash, pair, kind, share) !== committed)',
    put: 'if (false)',
  },
  'any-sender': {
    file: server,
    find: 'if (!verifyStrict(member.publicKey, kind, body, signature))',
    put: 'if (false)',
  },
  'last-vector-counts': {
    file: server,
    find: "return earlier === body.vecRoot\n      ? succeed(phase)\n      : fault('conflicting-update', 'this client sent another vector before');",
    put: 'return succeed({ ...phase, stored: new Map(stored).set(member.place, body.vecRoot) });',
  },
  'any-round-number': {
    file: 'client/session/checks.ts',
    find: 'if (roundIndex <= memory.lastRoundIndex) {',
    put: 'if (roundIndex < -1) {',
  },
  'any-start': {
    file: 'client/session/checks.ts',
    find: 'if (previous !== null && previous.roundIndex + 1 === roundIndex && previous.modelHash !== modelHash) {',
    put: 'if (roundIndex < 0) {',
  },
  'any-model': {
    file: 'client/session/checks.ts',
    find: "['model-mismatch', 'model hash', signed.modelHash, own.modelHash],",
    put: '',
  },
  'any-log': {
    file: trust,
    find: 'if (!proof.ok || fault !== null) {\n      await alarm(fault!, answer.value, roundIndex);\n      return null;\n    }',
    put: 'if (!proof.ok || fault === undefined) return null;',
  },
  'any-checkpoints': { file: members, find: 'if (fork !== null)', put: 'if (false)' },
  'big-endian': {
    file: 'shared/core/bytes.ts',
    find: 'bytesOf(Uint16Array.of(1))[0] === 1',
    put: 'bytesOf(Uint16Array.of(1))[1] === 1',
  },
  'any-nonce': { file: grouped, find: 'if (liar !== undefined)', put: 'if (liar === null)' },
  'any-outcome': {
    file: grouped,
    find: 'if (judgedPhase.next.survivorsHash !== outcome.groups[group])',
    put: 'if (false)',
  },
  'any-quorum': {
    file: grouped,
    find: 'if (consenting.size < least || (least > 0 && !consenting.has(place)))',
    put: 'if (consenting.size < 0)',
  },
  'few-in-group': { file: grouped, find: 'if (places.length < grouping.clientCountMin)', put: 'if (false)' },
  'few-organisations-in-group': {
    file: 'shared/secure-aggregation/division.ts',
    find: 'if (found < organisationCountMin) {',
    put: 'if (found < 0) {',
  },
  'number-again': {
    file: `${rounds}/ending.ts`,
    find: 'return { ...state, roundIndex: state.roundIndex + 1, outcomes',
    put: 'return { ...state, roundIndex: state.roundIndex, outcomes',
  },
  'endless-recruiting': {
    file: `${rounds}/opening.ts`,
    find: "name: 'recruit', ...work, deadlineMs: atMs + settings.recruitMs }",
    put: "name: 'recruit', ...work, deadlineMs: Number.MAX_SAFE_INTEGER }",
  },
  'forgets-contribution': {
    file: 'client/session/round-steps.ts',
    find: 'const remembered = { ...memory, lastRoundIndex: offer.roundParams.roundIndex };',
    put: 'const remembered = memory;',
  },
  'unproven-dealer': { file: 'shared/secure-aggregation/opening.ts', find: 'if (isTrue) continue;', put: 'continue;' },
} as const satisfies Record<string, Mutant>;
/** Name of a broken machine. */
export type MutantName = keyof typeof mutants;

const root = new URL('../../', import.meta.url).href;
/** Where mutants change things. */
const changing = [
  'shared/core/bytes.ts',
  'shared/model/safetensors.ts',
  'shared/model/stored-tensor.ts',
  'shared/secure-aggregation/',
  'shared/crypto/',
  'shared/identity/',
  'shared/plan/policy.ts',
  'client/session/',
  'client/trust.ts',
  `${rounds}/`,
].map((path) => `${root}${path}`);

let isHooked = false;

/** Modules that a mutant imports are its own copies, down to the folders that mutants change. */
function hook(): void {
  if (isHooked) return;
  isHooked = true;
  registerHooks({
    resolve: (specifier, context, next) => {
      const resolved = next(specifier, context);
      const name = context.parentURL === undefined ? null : new URL(context.parentURL).searchParams.get('mutant');
      const isOwn = name !== null && changing.some((path) => resolved.url.startsWith(path));
      return isOwn ? { ...resolved, url: `${resolved.url}?mutant=${name}` } : resolved;
    },
    load: (url, context, next) => {
      const at = new URL(url);
      const name = at.searchParams.get('mutant');
      if (name === null) return next(url, context);
      at.search = '';
      const loaded = next(at.href, context);
      const text = Buffer.from(loaded.source as Uint8Array).toString();
      const { file, find, put } = mutants[name as MutantName];
      if (at.href !== `${root}${file}`) return { ...loaded, source: text };
      assert.equal(text.split(find).length, 2, `mutant ${name}: its sentence stands once in ${file}`);
      return { ...loaded, source: text.replace(find, () => put) };
    },
  });
}

/** A module as a mutant has it. */
export function loadModule<Module>(name: MutantName, path: string): Promise<Module> {
  hook();
  return import(`${root}${path}?mutant=${name}`);
}

/** The machines of masked rounds with one of them broken. */
export async function loadMutant(name: MutantName): Promise<Machines> {
  const load = (file: string): Promise<object> => loadModule(name, `shared/secure-aggregation/${file}`);
  const files = ['client-machine.ts', 'server-machine.ts', 'grouped-client.ts', 'grouped-server.ts', 'opening.ts'];
  return Object.assign({}, ...(await Promise.all(files.map(load))));
}

/** The machines of rounds and sessions with one of them broken. */
export async function loadFederationMutant(name: MutantName): Promise<FederationMachines> {
  const [session, federation] = await Promise.all([
    loadModule<typeof SessionMachine>(name, 'client/session/machine.ts'),
    loadModule<typeof RoundMachine>(name, `${rounds}/machine.ts`),
  ]);
  return {
    startSession: session.startSession,
    receiveSession: session.receive,
    startFederation: federation.startFederation,
    receiveFederation: federation.receive,
  };
}
