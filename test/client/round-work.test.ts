import { strict as assert } from 'node:assert';
import { utf8 } from '../../shared/core/bytes.ts';
import { FederationError, StoreError } from '../../shared/core/errors.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { spendingOf } from '../../shared/plan/privacy.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import { until } from '../coordinator/harness.ts';
import { coordinatorDouble, dim, doublePlan } from './coordinator-double.ts';
import { fixedBase, fixedBaseDigest, fixedLearner } from './fixed-learner.ts';

import { ones, startClient, stopClients } from './running-client.ts';

describe('work of a client in a round', () => {
  afterEach(stopClients);

  it('[CLI-41] keeps base and plan over rounds, and fetches a candidate once', async () => {
    const double = coordinatorDouble();
    const learner = fixedLearner({ dim, delta: ones });
    let loaded = 0;
    const prepare: typeof learner.prepare = (plan, files) => {
      loaded++;
      return learner.prepare(plan, files);
    };
    const client = await startClient(double, ones, { learner: { ...learner, prepare } });
    for (const round of [0, 1]) {
      const offer = double.offer(round, { value: round });
      await until(() => client.of('uploaded').length === round + 1);
      double.evaluate(offer.roundHash, round + 1);
      await until(() => client.of('evaluated').length === round + 1);
      double.result(offer, round + 1);
    }
    const fetched = client.of('downloaded').map(({ what }) => what);
    assert.deepEqual(fetched, ['plan', 'base/weights.bin', 'adapter', 'adapter', 'adapter']);
    assert.equal(loaded, 1);
  });

  it('[CLI-49] a cache that keeps nothing is told, and the client goes on', async () => {
    const double = coordinatorDouble();
    double.platform.breakDisk('cache');
    const client = await startClient(double);
    double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    assert.deepEqual(
      client.of('problem').map(({ code }) => code),
      ['cache', 'cache'],
    );
  });

  it('[CLI-50] a policy that refuses says why, and nothing else leaves the site', async () => {
    const double = coordinatorDouble();
    const strict = parsePolicy({ cohortMin: 2, quorumMin: 2, exampleCountMin: 100, roundsMax: 1 }, 'the test');
    await startClient(double, ones, { policy: strict });
    double.offer(0);
    await until(() => double.names().includes('decline'));
    const { code, reason } = double.heard.at(-1)!.body;
    assert.equal(code, 'policy-refused');
    assert.match(reason!, /too-few-examples: .*10 training rows.*roundsMax/);
    assert.deepEqual(double.names(), ['decline']);
    assert.equal(double.platform.content.size, 1);
    double.offer(1, { plan: doublePlan({ count: 1 }) });
    await until(() => double.names().length === 2);
    assert.doesNotMatch(double.heard.at(-1)!.body.reason!, /roundsMax/);
  });

  it('[CLI-109] takes part in no more round numbers than the site and the privacy budget of the plan allow, also after a new start', async () => {
    const patient = parsePolicy({ cohortMin: 2, quorumMin: 2, voidRoundsMax: 3 }, 'the test');
    const plan = doublePlan({ count: 2 });
    const declined = async (round: number, offered = plan): Promise<string | null> => {
      const double = coordinatorDouble();
      await startClient(double, ones, { policy: patient });
      double.offer(round, { plan: offered });
      await until(() => double.names().includes('decline') || double.names().includes('update'));
      await stopClients();
      return double.heard.at(-1)!.body.reason ?? null;
    };
    assert.equal(await declined(4), null);
    assert.match((await declined(5)) ?? '', /too-many-void-rounds: .* number 5 is offered/);
    const privately = { ...plan.privacy, unit: 'client', noiseMultiplier: 4, epsilon: 2.2 } as const;
    const spending = { ...plan, aggregation: { ...plan.aggregation, weighting: 'equal' }, privacy: privately } as const;
    const { roundsMax } = spendingOf(spending, dim)!;
    assert.ok(roundsMax > 0 && roundsMax < 5, `${roundsMax} numbers are paid`);
    assert.equal(await declined(roundsMax - 1, spending), null);
    assert.match(
      (await declined(roundsMax, spending)) ?? '',
      new RegExp(`privacy-budget-spent: .* pays ${roundsMax} round numbers, void ones included`),
    );
  });

  it('[CLI-131] a masked round that leaves longer updates than the site does is refused, whatever norm the plan begins with', async () => {
    const masked = { suite: 1, coordBound: 1, profile: 1, weightBits: 16, rounding: 1 };
    const answerTo = async (policy: object, clipNorm: number): Promise<string | undefined> => {
      const double = coordinatorDouble();
      await startClient(double, ones, { policy: parsePolicy({ cohortMin: 2, quorumMin: 2, ...policy }, 'the test') });
      double.offer(0, { params: { ...masked, clipNorm } });
      await until(() => double.names().includes('decline'));
      await stopClients();
      return double.heard.find(({ name }) => name === 'decline')?.body.reason;
    };
    assert.match(
      (await answerTo({ clipNormMax: 2 }, 2.5)) ?? '',
      /^clip-too-large: the round leaves updates up to the norm 2.5, this site at most 2/,
    );
    // The plan of the double has no masks, which is judged last.
    assert.match((await answerTo({ clipNormMax: 2 }, 2)) ?? '', /the rounds of the plan are unmasked/);
    assert.match((await answerTo({}, 2.5)) ?? '', /the rounds of the plan are unmasked/);
  });

  it('[CLI-140] budget-stop: what records were charged is durable before an update leaves the site, and is known after a new start', async () => {
    const double = coordinatorDouble();
    const open = doublePlan();
    const plan = { ...open, privacy: { ...open.privacy, unit: 'record', epsilon: 1000 } } as const;
    const fixed = fixedLearner({ dim, delta: ones });
    const given: unknown[] = [];
    const failureOf = ({ outcome }: Awaited<ReturnType<typeof startClient>>): string => {
      const found = outcome();
      return found instanceof Error ? found.message : '';
    };
    const chargeOf = (numbers: number) => [{ recordCount: 10, stepsPerRound: 1, noiseMultiplier: 1.5, numbers }];
    const prepare: typeof fixed.prepare = async (...asked) => {
      const learning = await fixed.prepare(...asked);
      const train: typeof learning.train = async (options) => {
        given.push(options.charges);
        return { ...(await learning.train(options)), charges: chargeOf(options.roundIndex + 1) };
      };
      return { ...learning, train };
    };
    const learner = { ...fixed, prepare };
    const full = async (): Promise<never> => {
      throw new StoreError('personal-not-written', 'no space left on the disk');
    };
    const { personal } = double.platform;
    const broken = { ...double.platform, personal: { ...personal, write: full } };
    const failing = await startClient(double, ones, { learner, platform: broken });
    double.offer(0, { plan });
    await until(() => failing.outcome() !== null);
    assert.match(failureOf(failing), /no space left/);
    assert.ok(!double.names().includes('update'), double.names().join());
    for (const round of [1, 2]) {
      const client = await startClient(double, ones, { learner });
      double.offer(round, { plan });
      await until(() => client.of('uploaded').length === 1);
      await stopClients();
    }
    assert.deepEqual(given, [[], [], chargeOf(2)]);
    const [name] = [...double.platform.personalParts.keys()];
    await personal.write(name!, utf8('[{"numbers":2}]'));
    const damaged = await startClient(double, ones, { learner });
    double.offer(3, { plan });
    await until(() => damaged.outcome() !== null);
    assert.match(failureOf(damaged), /must hold what this site's records were charged, found something else/);
  });

  it('[CLI-51] a failure of the site is told with its code only, and the whole of it to its owner', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double, () => {
      throw new FederationError('unknown-label', 'the row in line 7 has the label "diagnosis of Mr Smith"');
    });
    double.offer(0);
    await until(() => double.names().includes('decline'));
    const { code, reason } = double.heard.at(-1)!.body;
    assert.deepEqual([code, reason], ['training-failed', 'the site could not do its part (unknown-label)']);
    assert.match(client.of('problem')[0]!.detail, /Mr Smith/);
  });

  it('[CLI-52] a delta that is no number costs no contribution', async () => {
    const double = coordinatorDouble();
    await startClient(double, () => ones().fill(Number.NaN, 2, 3));
    double.offer(0);
    await until(() => double.names().includes('decline'));
    assert.match(double.heard.at(-1)!.body.reason!, /training-diverged/);
    assert.deepEqual(double.platform.entry().contributions, {});
  });

  it('[CLI-120] counts that the round does not take are refused before anything is sent, with the reason to the owner', async () => {
    const layout = layoutOf([
      { name: 'experts', shape: [2], aggregationClass: 'count-weighted', countName: 'uses', decays: false },
      { name: 'uses', shape: [2], aggregationClass: 'count', decays: false },
    ]);
    const double = coordinatorDouble({ files: fixedBase, baseDigest: fixedBaseDigest(fixedBase), layout });
    const fixed = fixedLearner({ dim, delta: ones });
    let uses = 2 ** 20 + 1;
    const prepare: typeof fixed.prepare = async (plan, files) => {
      const learning = await fixed.prepare(plan, files);
      const train: typeof learning.train = async (options) => {
        return { ...(await learning.train(options)), counts: new Map([['uses', Float32Array.of(1, uses)]]) };
      };
      return { ...learning, layout, train };
    };
    const client = await startClient(double, ones, { learner: { ...fixed, prepare } });
    double.offer(0);
    await until(() => double.names().includes('decline'));
    assert.equal(double.heard.at(-1)!.body.reason, 'the site could not do its part (bad-counts)');
    assert.match(client.of('problem')[0]!.detail, /counts of uses .*0 to 1048576 .*found 1048577 at place 1 of 2/);
    assert.ok(!double.names().includes('update'));
    uses = 2 ** 20;
    double.offer(1);
    await until(() => client.of('uploaded').length === 1);
  });

  it('[CLI-53] discloses neither loss nor counts unless the policy says so, and still answers at once', async () => {
    const double = coordinatorDouble();
    const silent = parsePolicy({ cohortMin: 2, quorumMin: 2 }, 'the test');
    const client = await startClient(double, ones, { policy: silent });
    const { roundHash } = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.evaluate(roundHash, 1);
    await until(() => client.of('evaluated').length === 1);
    assert.equal(double.heard.find(({ name }) => name === 'update')!.body.trainLoss, null);
    const { exampleCount, metrics } = double.heard.at(-1)!.body;
    assert.deepEqual([exampleCount, metrics], [0, null]);
    assert.equal(client.of('evaluated')[0]!.disclosed, false);
  });

  it('[CLI-54] a candidate that is not what was signed is not evaluated, and the round does not wait', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double);
    const { roundHash } = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.evaluate(roundHash, 1, roundHash);
    await until(() => double.names().at(-1) === 'evaluation');
    assert.equal(client.of('problem')[0]!.code, 'model-mismatch');
    assert.equal(double.heard.at(-1)!.body.metrics, null);
  });

  it('[CLI-59] reports progress to the coordinator seldom', async () => {
    const double = coordinatorDouble();
    const learner = fixedLearner({ dim, delta: ones });
    const steps = Promise.withResolvers<void>();
    await startClient(double, ones, {
      learner: {
        ...learner,
        prepare: async (plan, files) => ({
          ...(await learner.prepare(plan, files)),
          train: async ({ onProgress }) => {
            for (let step = 1; step <= 100; step++) {
              onProgress({ stepsDone: step, stepCount: 100, loss: 1 });
              await double.clock.advance(100);
            }
            steps.resolve();
            return { delta: ones(), exampleCount: 1, meanLoss: 1, seconds: 10 };
          },
        }),
      },
    });
    double.offer(0);
    await steps.promise;
    const reported = double.names().filter((name) => name === 'progress').length;
    // Ten seconds of training, a report every two.
    assert.equal(reported, 4);
  });
});
