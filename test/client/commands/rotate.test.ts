/** `client rotate` from end to end: a site replaces its key in the middle of a federation over sockets whose members a consortium certifies. */
import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../../../client/client.ts';
import { register } from '../../../client/commands.ts';
import { credentialsOf } from '../../../client/enrolment.ts';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import { emptyJournal } from '../../../client/platform/ports.ts';
import { createAuditLog } from '../../../coordinator/audit/audit-log.ts';
import { createRegistry } from '../../../coordinator/enrolment/registry.ts';
import { keysOfSite } from '../../../coordinator/enrolment/rotated-keys.ts';
import { lastWithout } from '../../../coordinator/library/contributions.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import { systemClock } from '../../../shared/core/system-clock.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { fingerprint, identityFromSeed } from '../../../shared/crypto/identity.ts';
import {
  encodeCertificate,
  judgeMember,
  readCertificate,
  rotationOverlapMs,
  signRotation,
} from '../../../shared/identity/certificate.ts';
import { type Consortium, consortiumHashOf, encodeConsortium } from '../../../shared/identity/consortium.ts';
import { readDocument, requestFormat, writeDocument } from '../../../shared/identity/documents.ts';
import { type IdentityDocument, revokeSerials, signDocument } from '../../../shared/identity/office.ts';
import { openRevocations } from '../../../shared/identity/revocations.ts';
import { sealWithdrawal, withdrawalAnswerSchema } from '../../../shared/identity/withdrawal.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { sealEnrolment } from '../../../shared/protocol/handshake.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan } from '../../coordinator/harness.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../fixed-learner.ts';

const dim = 4;
const policy = parsePolicy({ cohortMin: 1, quorumMin: 1 }, 'the test');
const admins = [71, 72].map((seed) => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto));
const consortium: Consortium = {
  name: 'Hospitals',
  threshold: 2,
  keys: admins.map(({ publicKey }) => publicKey).sort((left, right) => (toHex(left) < toHex(right) ? -1 : 1)),
};
const office = (index: number) => ({
  consortium,
  identity: admins[index]!,
  nowMs: systemClock.nowMs(),
  entropy: seededEntropy(73),
  fingerprint: undefined,
  days: 30,
});

async function rotate(...argv: string[]) {
  const terminal = fakeTerminal();
  const groups = [{ commands: { client: 'client', personalise: 'personalise' }, load: async () => ({ register }) }];
  const { signal } = new AbortController();
  const full = ['client', 'rotate', ...argv];
  const code = await runCommandLine({ groups, argv: full, version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('client rotate', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-rotate-'));
  const at = (name: string): string => join(folder, name);
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(closeWorlds);

  it('[RTC-1] a new key, signed by the old one and one administrator, goes on where the old one was', async () => {
    const state = memoryState(seededEntropy(74));
    const first = Promise.withResolvers<void>();
    const { coordinator } = await startWorld({
      onEvent: ({ type }) => type === 'published' && first.resolve(),
      plan: {
        ...testPlan({
          rounds: { count: 2, cohortSize: 1, quorum: 1, recruitSeconds: 1, trainSeconds: 1, voidsMax: 1000 },
          evaluation: { everyRounds: 0 },
        }),
        base: { digest: fixedBaseDigest(fixedBase) },
      },
      state,
      clock: systemClock,
      transport: socketServer({ port: 0 }),
      ...fixedStart(dim),
    });
    const { store } = state;
    const log = createAuditLog({ store: store.log, identity: state.identity, clock: systemClock });
    const registry = createRegistry({ store, log, clock: systemClock, entropy: seededEntropy(75) });
    const take = (document: IdentityDocument) => registry.take(signDocument(document, office(1)));
    await registry.take({ kind: 'consortium', bytes: encodeConsortium(consortium) });
    const emptyList = revokeSerials([], { ...office(0), last: null, isRotated: false });
    await take(emptyList);

    const platform = await nodePlatform(at('site'));
    const identity = identityFromSeed(await platform.identitySeed());
    const code = parseEnrolmentCode(await coordinator.invite({ organisation: 'Clinic' }));
    const { token, federationId } = code;
    const enrolment = sealEnrolment(identity, { token, name: 'ward', federationId });
    assert.equal((await platform.requestJson(`${coordinator.url}/v1/enrol`, 5000, enrolment)).status, 200);
    await platform.journal.write({ ...emptyJournal, credentials: credentialsOf(code, identity) });
    const { publicKey } = identity;
    const body = encodeCanonical(requestFormat, { publicKey, organisation: 'Clinic' });
    await take(signDocument({ kind: 'request', bytes: body }, { ...office(0), fingerprint: fingerprint(publicKey) }));

    const start = async (isSecondRoundOpen: boolean) => {
      const controller = new AbortController();
      const client = await createClient({
        platform: await nodePlatform(at('site')),
        learner: fixedLearner({
          dim,
          // Further rounds get no update until the key is another: they are void after a second.
          delta: async (round, _start, signal) => {
            if (round === 0 || !isSecondRoundOpen) return new Float32Array(dim).fill(1);
            return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
          },
        }),
        policy,
      });
      return { client, ended: client.run(controller.signal), stop: () => controller.abort() };
    };
    const before = await start(true);
    await first.promise;
    const running = await rotate('propose', '--state', at('site'), '--out', at('proposal.json'));
    assert.equal(running.code, 0, running.errors);
    assert.equal(statSync(at('site/next.key')).mode & 0o777, 0o600);
    const early = await rotate('take', at('proposal.json'), '--state', at('site'));
    assert.match(early.errors, /in use|another client/i, 'not while the client runs');
    before.stop();
    await before.ended;
    assert.match(
      (await rotate('take', at('proposal.json'), '--state', at('site'))).errors,
      /not signed by the consortium/,
    );

    const proposal = readDocument(readFileSync(at('proposal.json'), 'utf8'), 'the proposal');
    await assert.rejects(registry.take(proposal), /no key of the consortium/);
    const rotated = signDocument(proposal, office(0));
    await registry.take(rotated);
    writeFileSync(at('signed.json'), writeDocument('certificate', rotated.bytes, {}));
    const oldKey = readFileSync(at('site/identity.key'), 'utf8');
    const taken = await rotate('take', at('signed.json'), '--state', at('site'));
    assert.equal(taken.code, 0, taken.errors);
    assert.notEqual(readFileSync(at('site/identity.key'), 'utf8'), oldKey);
    assert.ok(!existsSync(at('site/next.key')));

    const after = await start(false);
    assert.notEqual(after.client.clientId, before.client.clientId);
    assert.equal((await coordinator.ended).status, 'completed');
    await after.ended;
    const library = await coordinator.library();
    assert.deepEqual(
      library.slice(1).map(({ record }) => record.contributors),
      [[before.client.clientId], [after.client.clientId]],
    );

    const judge = (bytes: Uint8Array, list: IdentityDocument | null, nowMs: number) => {
      const opened = list === null ? null : openRevocations(consortium, list.bytes);
      const revocations = opened?.ok ? opened.value : null;
      return judgeMember(bytes, { consortium, revocations, nowMs }).ok;
    };
    const whole = (await store.documents.get(`certificate/${before.client.clientId}`))!;
    const old = Uint8Array.from(Buffer.from(whole, 'hex'));
    const revoking = revokeSerials([{ kind: 'certificate', bytes: old }], {
      ...office(0),
      last: emptyList,
      isRotated: true,
    });
    const list = signDocument(revoking, office(1));
    const nowMs = systemClock.nowMs();
    assert.ok(judge(old, list, nowMs), 'the old certificate stays good for a day');
    assert.ok(!judge(old, list, nowMs + rotationOverlapMs + 60_000), 'and no longer');
    assert.ok(judge(rotated.bytes, list, nowMs + rotationOverlapMs + 60_000), 'the new one goes on');
    assert.equal(consortiumHashOf(consortium).length, 64);

    // A site that leaves after it rotated leaves with its old key, too, and hears of what it contributed with either.
    const next = identityFromSeed(await (await nodePlatform(at('site'))).identitySeed());
    assert.deepEqual(await keysOfSite(store, next.clientId), [next.clientId, identity.clientId]);
    assert.deepEqual(
      await keysOfSite(store, identity.clientId),
      [identity.clientId],
      'an old key speaks for no new one',
    );
    const withdrawal = sealWithdrawal(next, federationId, systemClock.nowMs());
    const left = await platform.requestJson(`${coordinator.url}/v1/withdraw`, 5000, withdrawal);
    assert.deepEqual(withdrawalAnswerSchema.parse(left.body).direct, [1, 2]);
    for (const { clientId } of [identity, next]) assert.equal((await store.client(clientId))?.status, 'revoked');
    assert.equal(lastWithout(library, await keysOfSite(store, next.clientId)).row.version, 0);

    // The quorum signs a member, not the certificate that is brought along with it: of somebody else it counts for nothing.
    const read = readCertificate(rotated.bytes);
    assert.ok(read.ok && read.value.certificate.rotation !== null);
    const { certificate } = read.value;
    const forged = { ...certificate, rotation: { previous: old, signature: signRotation(next, certificate.member) } };
    await store.documents.put(`rotation/${next.clientId}`, toHex(encodeCertificate(forged)));
    assert.deepEqual(await keysOfSite(store, next.clientId), [next.clientId]);
  });

  it('[RTC-2] says what is missing: a state, a consortium, a proposal', async () => {
    assert.match((await rotate('propose', '--out', at('x.json'))).errors, /--state <folder>' not specified/);
    assert.match((await rotate('propose', '--state', at('none'), '--out', at('x.json'))).errors, /no key of a site/);
    assert.match((await rotate('take', at('signed.json'), '--state', at('site'))).errors, /no new key here/);
  });
});
