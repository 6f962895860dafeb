/**
 * A process in which a whole masked federation runs, clients and coordinator, one of whom vanishes; then it looks through a snapshot of its heap for
 * everything that was drawn, dealt, agreed on and masked with. A snapshot holds every text that can be reached, and no bytes of buffers. It prints what
 * it found.
 */
import process from 'node:process';
import { toHex } from '../../shared/core/bytes.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import { advertFormat } from '../../shared/secure-aggregation/messages.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { settled, startWorld, testPlan } from '../coordinator/harness.ts';
import { heapTexts } from '../helpers/heap-texts.ts';
import { platformIn, runClient } from './memory-federation.ts';
import { agreementsOf, attemptsIn, overhear, wiretap } from './secret-keeping.ts';
import { formsOf, type Secret } from './secret-search.ts';

const [dim, clientCount] = [16, 5];
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');

/** Runs one round and lets go of everything but its secrets, which are bytes. */
async function federate() {
  const rounds = { count: 1, cohortSize: clientCount, quorum: clientCount - 1 };
  const plan = testPlan({ rounds, evaluation: { everyRounds: 0 }, secureAggregation: { mode: 'on' } });
  const world = await startWorld({
    plan: { ...plan, base: { digest: fixedBaseDigest(fixedBase) } },
    ...fixedStart(dim),
  });
  let uploading = 0;
  const tap = wiretap(world, ({ kind }) => kind === 'MASKED' && ++uploading === clientCount);
  const overheard = [];
  const running = [];
  for (let index = 0; index < clientCount; index++) {
    const one = overhear(platformIn(tap.world, 2700 + index));
    overheard.push(one);
    const learner = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(index / 9) });
    running.push(await runClient(tap.world, { platform: one.platform, learner, policy }));
  }
  const isOver = () => world.events.some(({ type }) => type === 'ended');
  for (let turn = 0; turn < 100 && !isOver(); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  const contributors = (await world.coordinator.library()).at(-1)!.record.contributors.length;
  for (const client of running) client.stop();
  await Promise.race([Promise.all(running.map(({ ended }) => ended)), settled()]);
  await world.coordinator.close();

  const announced = new Set<string>();
  for (const { kind, body } of tap.calls) {
    const advert = kind === 'ADVERT' ? decodeCanonical(advertFormat, body, 'M1') : null;
    if (advert?.ok) for (const key of [advert.value.boxKey, advert.value.maskKey]) announced.add(toHex(key));
  }
  const secrets: Secret[] = [];
  const attempts = overheard.flatMap(({ drawn }) => attemptsIn(drawn, (key) => announced.has(toHex(key)), clientCount));
  for (const { box, mask, self, maskShares, selfShares } of attempts)
    for (const bytes of [box, mask, self, ...maskShares, ...selfShares]) secrets.push({ name: 'of an attempt', bytes });
  for (const kind of ['box', 'mask'] as const)
    secrets.push(
      ...agreementsOf(
        kind,
        attempts.map((attempt) => attempt[kind]),
      ),
    );
  for (const { platform, maskKeys } of overheard) {
    secrets.push({ name: 'identity key', bytes: await platform.identitySeed() });
    secrets.push(...maskKeys.map((bytes) => ({ name: 'mask seed', bytes })));
  }
  return { contributors, attemptCount: attempts.length, secrets };
}

const { contributors, attemptCount, secrets } = await federate();
const planted = process.argv[2] === 'plant' ? [toHex(secrets[0]!.bytes)] : [];
const snapshot = await heapTexts();
const found = secrets.flatMap(({ name, bytes }) =>
  formsOf(bytes).some((form) => snapshot.includes(form)) ? [name] : [],
);
const counts = { contributors, attemptCount, secretCount: secrets.length, planted: planted.length };
process.stdout.write(JSON.stringify({ ...counts, isWhole: snapshot.length > 1e6, found }));
