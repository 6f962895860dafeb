/** Nothing secret in it: what exists of secrets on both sides of federations is looked for in everything that they leave behind, say and print. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuditLog } from '../../coordinator/audit/audit-log.ts';
import { writeLogFile } from '../../coordinator/audit/log-file.ts';
import { describeEvent } from '../../coordinator/commands/describe-event.ts';
import { createRegistry } from '../../coordinator/enrolment/registry.ts';
import { type CoordinatorState, openState } from '../../coordinator/store/state.ts';
import { bytesOf, fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { fingerprint, identityFromSeed } from '../../shared/crypto/identity.ts';
import { deriveKey } from '../../shared/crypto/key-derivation.ts';
import { type Consortium, encodeConsortium } from '../../shared/identity/consortium.ts';
import { requestFormat } from '../../shared/identity/documents.ts';
import { type IdentityDocument, revokeSerials, signDocument } from '../../shared/identity/office.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeCanonical, encodeCanonical } from '../../shared/protocol/canonical.ts';
import { parseEnrolmentCode } from '../../shared/protocol/enrolment-code.ts';
import { advertFormat, unmaskFormat } from '../../shared/secure-aggregation/messages.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import {
  closeWorlds,
  seededEntropy,
  settled,
  startWorld,
  testPlan,
  until,
  type World,
} from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';
import { agreementsOf, attemptsIn, filesOf, overhear, tablesOf, wiretap } from './secret-keeping.ts';
import { findSecrets, formsOf, type Secret } from './secret-search.ts';

const dim = 16;
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');
const keyVariable = 'TRIBUTARY_COORDINATOR_KEY';
const adminSeeds = [71, 72].map((seed) => seededEntropy(seed).bytes(32));
const admins = adminSeeds.map((seed) => identityFromSeed(seed, engineCrypto));
const consortium: Consortium = {
  name: 'Hospitals',
  threshold: 2,
  keys: admins.map(({ publicKey }) => publicKey).sort((left, right) => (toHex(left) < toHex(right) ? -1 : 1)),
};
const deltaOf = (index: number) =>
  Float32Array.from({ length: dim }, (_, place) => Math.sin(1 + place + 20 * index) / 9);

function planOf(changes: Parameters<typeof testPlan>[0], privacy: object): Plan {
  const plan = testPlan({ evaluation: { everyRounds: 0 }, audit: { retainUpdates: true }, ...changes });
  const whole = { ...plan, base: { digest: fixedBaseDigest(fixedBase) }, privacy };
  return parsePlan({ ...whole, aggregation: { ...plan.aggregation, weighting: 'equal' } }, 'the test');
}

const startOn = (state: CoordinatorState, plan: Plan): Promise<World> =>
  startWorld({
    plan,
    state,
    ...fixedStart(dim),
  });

/** A consortium certifies whoever waits; everybody is let in once there are `count`. */
async function certify(state: CoordinatorState, { clock }: World, count: number): Promise<void> {
  const entropy = seededEntropy(73);
  const log = createAuditLog({ store: state.store.log, identity: state.identity, clock });
  const registry = createRegistry({ store: state.store, log, clock, entropy });
  const ports = (index: number) => ({ consortium, identity: admins[index]!, nowMs: clock.nowMs(), entropy });
  const take = (document: IdentityDocument) =>
    registry.take(signDocument(document, { ...ports(1), fingerprint: undefined, days: 1 }));
  if (count === 0) {
    await registry.take({ kind: 'consortium', bytes: encodeConsortium(consortium) });
    await take(revokeSerials([], { ...ports(0), last: null, isRotated: false }));
    return;
  }
  let waiting = 0;
  await until(() => {
    void state.store.clients().then((all) => {
      waiting = all.filter(({ status }) => status === 'pending').length;
    });
    return waiting === count;
  }, `${count} clients that wait for their certificates`);
  for (const { publicKey, organisation } of await state.store.clients()) {
    const key = fromHex(publicKey);
    const bytes = encodeCanonical(requestFormat, { publicKey: key, organisation });
    await take(signDocument({ kind: 'request', bytes }, { ...ports(0), fingerprint: fingerprint(key), days: 90 }));
  }
}

interface Federated {
  readonly plan: Plan;
  readonly clientCount: number;
  readonly isCertified: boolean;
  /** Whether the client with the last index vanishes before it uploads its masked vector. */
  readonly vanishes: boolean;
}

/** Runs a federation on a state folder; all its secrets, and all that is left of it. */
async function federate(folder: string, { plan, clientCount, isCertified, vanishes }: Federated) {
  const state = await openState(folder, seededEntropy(74));
  const world = await startOn(state, plan);
  if (isCertified) await certify(state, world, 0);
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  let uploading = 0;
  // The last one that would announce its vector is gone.
  const isLost = ({ kind }: { readonly kind: string }) => kind === 'MASKED' && ++uploading === clientCount;
  const tap = wiretap(world, (call) => vanishes && isLost(call));
  const overheard = [];
  for (let index = 0; index < clientCount; index++) {
    const one = overhear(platformIn(tap.world, 1700 + index));
    overheard.push(one);
    const learner = fixedLearner({ dim, exampleCount: 10, delta: () => deltaOf(index) });
    clients.push(
      await runClient(tap.world, { platform: one.platform, learner, policy, organisation: `Hospital ${index}` }),
    );
  }
  if (isCertified) {
    await certify(state, world, clientCount);
    await world.clock.advance(60_000);
  }
  const isOver = () => world.events.some(({ type }) => type === 'ended');
  if (vanishes) {
    const stored = () => tap.answered.filter((name) => name === 'commit').length;
    await until(() => stored() === clientCount - 1, 'all masked vectors but one');
    await world.clock.advance(60_000);
  }
  await until(isOver, 'the end');
  for (const client of clients) client.stop();
  await Promise.race([Promise.all(clients.map(({ ended }) => ended)), settled()]);

  const { store } = state;
  const rows = await store.log.rows(0);
  const log = { rows, checkpoints: await store.log.checkpoints(), versions: await store.versions() };
  const federation = (await store.federation())!;
  const logFile = writeLogFile({ federation, coordinatorKey: toHex(state.identity.publicKey), ...log });
  const transcripts = [];
  for (const { roundIndex } of await store.rounds()) transcripts.push(await store.log.transcript(roundIndex));
  const noise = [];
  for (const { roundIndex } of await store.rounds()) noise.push(await store.documents.get(`noise/${roundIndex}`));
  const contributors = (await world.coordinator.library()).at(-1)!.record.contributors.length;
  await closeWorlds();
  await state.close();

  const text = (value: unknown) => utf8(JSON.stringify(value));
  const output = world.events.flatMap((event) => [utf8(describeEvent(event, folder, true) ?? ''), text(event)]);
  const files = filesOf(folder);
  const identityFile = files.get('identity.key') ?? null;
  files.delete('identity.key');
  const places = new Map<string, readonly Uint8Array[]>([
    ['log', [text(rows), utf8(logFile)]],
    ['receipts', overheard.flatMap(({ platform }) => [...platform.evidenceFiles.values()])],
    ['journals', overheard.map(({ platform }) => text(platform.entry()))],
    ['transcripts', [text(transcripts)]],
    ['output', [...output, ...clients.map(({ problems }) => text(problems))]],
    ['wire', tap.said],
    ...[...files].map(([path, bytes]) => [`file ${path}`, [bytes]] as const),
    ...[...tablesOf(join(folder, 'coordinator.sqlite'))].map(([name, values]) => [`table ${name}`, values] as const),
  ]);

  const secrets: Secret[] = adminSeeds.map((bytes, index) => ({ name: `key of administrator ${index}`, bytes }));
  for (const [index, { platform, maskKeys }] of overheard.entries()) {
    const seed = await platform.identitySeed();
    const rounding = deriveKey({ secret: seed, salt: new Uint8Array(0), info: utf8('TRIB/rounding-secret') });
    secrets.push({ name: `identity key of ${index}`, bytes: seed }, { name: `rounding of ${index}`, bytes: rounding });
    if (plan.secureAggregation.mode === 'on')
      secrets.push({ name: `update of ${index}`, bytes: bytesOf(deltaOf(index)) });
    secrets.push(...maskKeys.map((bytes) => ({ name: `mask seed of ${index}`, bytes })));
  }
  for (const [index, code] of tap.codes.entries()) {
    secrets.push({ name: `invite ${index}`, bytes: utf8(code) });
    secrets.push({ name: `token ${index}`, bytes: parseEnrolmentCode(code).token });
  }
  return { tap, overheard, places, secrets, noise, identityFile, contributors, logSize: rows.length };
}

describe('secrets that nobody finds', function () {
  this.timeout(30_000);
  const folder = mkdtempSync(join(tmpdir(), 'tributary-secrets-'));
  after(() => rmSync(folder, { recursive: true }));
  afterEach(closeWorlds);

  it('[NSC-1] the search finds bytes in each form, at every offset, and what is not there it does not find', () => {
    const secret = { name: 'key', bytes: seededEntropy(1).bytes(32) };
    const other = { name: 'other', bytes: seededEntropy(2).bytes(32) };
    for (const form of formsOf(secret.bytes)) {
      const place = new Map([['file', [Buffer.from(`x{"a":"${form}"}`, 'latin1')]]]);
      assert.deepEqual(findSecrets([secret, other], place), ['key in file'], form);
    }
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const)
      for (const before of [0, 1, 2, 3]) {
        const whole = Buffer.concat([Buffer.alloc(before, 7), secret.bytes, Buffer.alloc(5, 9)]).toString(encoding);
        const place = new Map([['file', [Buffer.from(whole, 'latin1')]]]);
        assert.deepEqual(findSecrets([secret, other], place), ['key in file'], `${encoding} ${before}`);
      }
  });

  it('[NSC-2] log-secrecy: a masked, certified, private federation with groups, of which one client vanishes, shows the shares that open it and nothing else', async () => {
    const clientCount = 10;
    const plan = planOf(
      {
        rounds: { count: 1, cohortSize: clientCount, quorum: clientCount - 1, voidsMax: 1 } as object,
        secureAggregation: { mode: 'on', groupSize: 5, organisationsMin: 3 },
      },
      { unit: 'client', mechanism: 'distributed', clipNorm: 1, noiseMultiplier: 1, epsilon: 50 },
    );
    const { tap, overheard, places, secrets, identityFile, contributors } = await federate(join(folder, 'masked'), {
      plan,
      clientCount,
      isCertified: true,
      vanishes: true,
    });
    assert.equal(contributors, clientCount - 1);
    assert.ok(identityFile !== null, 'the coordinator keeps its key in the file of mode 0600 and nowhere else');
    const seed = fromHex(Buffer.from(identityFile).toString('utf8').trim());
    secrets.push({ name: 'key of the coordinator', bytes: seed });

    const announced = new Set<string>();
    const opened = new Set<string>();
    for (const { kind, body } of tap.calls) {
      const advert = kind === 'ADVERT' ? decodeCanonical(advertFormat, body, 'M1') : null;
      if (advert?.ok) for (const key of [advert.value.boxKey, advert.value.maskKey]) announced.add(toHex(key));
      const unmask = kind === 'UNMASK' ? decodeCanonical(unmaskFormat, body, 'M5') : null;
      if (unmask?.ok) for (const { share } of unmask.value.shares) if (share !== null) opened.add(toHex(share));
    }
    const attempts = overheard.flatMap(({ drawn }) =>
      attemptsIn(drawn, (key) => announced.has(toHex(key)), clientCount / 2),
    );
    assert.equal(attempts.length, clientCount, 'every client made one attempt, whose secrets are known');
    const shown: Secret[] = [];
    for (const [index, { box, mask, self, maskShares, selfShares }] of attempts.entries()) {
      const own = { 'box key': box, 'mask key': mask, 'self-mask seed': self };
      for (const [name, bytes] of Object.entries(own)) secrets.push({ name: `${name} of ${index}`, bytes });
      for (const [kind, shares] of Object.entries({ mask: maskShares, self: selfShares })) {
        assert.equal(shares.length, clientCount / 2);
        for (const [holder, bytes] of shares.entries()) {
          const share = { name: `${kind} share of ${index} for ${holder}`, bytes };
          (opened.has(toHex(bytes)) ? shown : secrets).push(share);
        }
      }
    }
    secrets.push(
      ...agreementsOf(
        'box agreement',
        attempts.map(({ box }) => box),
      ),
    );
    secrets.push(
      ...agreementsOf(
        'mask agreement',
        attempts.map(({ mask }) => mask),
      ),
    );
    assert.equal(shown.length, opened.size, 'every share that was opened is one of those that were dealt');
    assert.ok(shown.some(({ name }) => name.startsWith('mask')) && shown.some(({ name }) => name.startsWith('self')));
    assert.ok(secrets.length > 300, `${secrets.length} secrets are known`);
    assert.deepEqual(findSecrets(secrets, places), []);

    // The shares that open a sum are for the coordinator and, where a plan retains rounds, for whoever replays them; the search finds them there.
    const where = new Set(findSecrets(shown, places).map((found) => found.replace(/^.* in /, '')));
    assert.ok(where.has('wire') && where.has('transcripts'), [...where].join());
    for (const place of ['log', 'receipts', 'journals', 'output']) assert.ok(!where.has(place), place);
    for (const place of where)
      assert.match(place, /^(wire|transcripts|table .*transcript.*|file coordinator\.sqlite(-wal)?)$/);
  });

  it('[NSC-3] log-secrecy: with its key in the environment the state holds no key; seeds of central noise lie beside the retained updates and nowhere else', async () => {
    const seed = seededEntropy(75).bytes(32);
    const before = process.env[keyVariable];
    process.env[keyVariable] = toHex(seed);
    const privacy = { unit: 'client', mechanism: 'central', clipNorm: 1, noiseMultiplier: 1, epsilon: 50 };
    const plan = planOf({ rounds: { count: 2, cohortSize: 3, quorum: 3 } }, privacy);
    const { places, secrets, identityFile, noise } = await federate(join(folder, 'central'), {
      plan,
      clientCount: 3,
      isCertified: false,
      vanishes: false,
    }).finally(() => {
      if (before === undefined) delete process.env[keyVariable];
      else process.env[keyVariable] = before;
    });
    assert.equal(identityFile, null);
    assert.deepEqual(findSecrets([...secrets, { name: 'key of the coordinator', bytes: seed }], places), []);
    const seeds = noise.map((hex, round) => ({ name: `noise of ${round}`, bytes: fromHex(hex!) }));
    assert.equal(seeds.length, 2);
    const where = new Set(findSecrets(seeds, places).map((found) => found.replace(/^.* in /, '')));
    assert.deepEqual([...where].sort(), ['file coordinator.sqlite', 'table documents']);
  });
});
