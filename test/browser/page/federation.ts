/** A client of a federation in the page, over a real socket to the coordinator. */
import { createClient } from '../../../client/client.ts';
import { type ContentCache, emptyJournal, type PersonalParts, type Platform } from '../../../client/platform/ports.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { checkDevice } from '../../../shared/compute/canary.ts';
import { errorMessage } from '../../../shared/core/errors.ts';
import { systemClock } from '../../../shared/core/system-clock.ts';
import { systemEntropy } from '../../../shared/crypto/entropy.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { fixedLearner } from '../../client/fixed-learner.ts';
import { strict as assert } from '../stand-ins/assert.ts';
import { loseWebGl } from './lost-context.ts';
import { type PageResult, runChecks } from './results.ts';

/** Values of the adapter, as many as the sites in Node have. */
const dim = 150_000;

/** Keys, journal and cache in memory; requests go to the page's own server, which passes them on. */
function pagePlatform(): Platform {
  let entry = emptyJournal;
  const content = new Map<string, Uint8Array>();
  const parts = (): PersonalParts => {
    const kept = new Map<string, Uint8Array>();
    return {
      read: async (name) => kept.get(name) ?? null,
      write: async (name, bytes) => void kept.set(name, bytes.slice()),
    };
  };
  const cache: ContentCache = {
    get: async (digest) => content.get(digest) ?? null,
    put: async (digest, bytes) => void content.set(digest, bytes),
  };
  return {
    clock: systemClock,
    entropy: systemEntropy,
    journal: {
      read: async () => entry,
      write: async (next) => {
        entry = next;
      },
    },
    cache,
    personal: parts(),
    evidence: parts(),
    claim: async () => () => undefined,
    identitySeed: async () => systemEntropy.bytes(32),
    requestJson: async (url, timeoutMs, body) => {
      const signal = AbortSignal.timeout(timeoutMs);
      const init = body === undefined ? { signal } : { method: 'POST', body: JSON.stringify(body), signal };
      const answer = await fetch(new URL(url).pathname, init);
      return { status: answer.status, body: await answer.json() };
    },
  };
}

/** Runs a client with a learner that gives `delta`; its problems, once the federation is completed. */
async function completeFederation(
  invite: string,
  delta: () => Promise<Float32Array> | Float32Array,
): Promise<readonly string[]> {
  const problems: string[] = [];
  const client = await createClient({
    platform: pagePlatform(),
    learner: fixedLearner({ dim, delta }),
    policy: parsePolicy({ cohortMin: 1, quorumMin: 1, discloseMetrics: true }, 'the page'),
    invite,
    name: 'browser',
    onEvent: (event) => {
      console.log(JSON.stringify(event));
      if (event.type === 'problem' || event.type === 'declined') problems.push(`${event.code}: ${event.detail}`);
    },
  });
  const { kind, detail } = await client.run();
  assert.equal(kind, 'completed', `${detail}; ${problems.join('; ')}`);
  return problems;
}

const added = (): Float32Array => new Float32Array(dim).fill(3);

/** Takes part until the federation ends, adding 3 to every value in every round. */
export async function takePart(invite: string): Promise<PageResult> {
  const checks = await runChecks([
    [
      '[BRW-6] a client in a browser takes part in masked rounds together with clients in Node',
      async () => assert.deepEqual(await completeFederation(invite, added), []),
    ],
  ]);
  return { kind: 'run', device: null, checks };
}

/** Takes part with WebGL, whose context is lost before it trains. */
export async function loseDevice(invite: string): Promise<PageResult> {
  let device: string | null;
  try {
    ({ device } = await useBackend('webgl'));
  } catch (thrown) {
    return { kind: 'not-run', reason: errorMessage(thrown) };
  }
  const checks = await runChecks([
    [
      '[BRW-8] a client whose WebGL context is lost leaves the round with that reason and sends nothing',
      async () => {
        const problems = await completeFederation(invite, async () => {
          loseWebGl();
          await checkDevice();
          return added();
        });
        assert.equal(problems.length, 2, problems.join('; '));
        assert.match(
          problems[0]!,
          /^device-lost: this device does not compute any more: its WebGL context was lost; restart/,
        );
        assert.equal(problems[1]!, 'training-failed: the site could not do its part (device-lost)');
      },
    ],
  ]);
  return { kind: 'run', device, checks };
}
