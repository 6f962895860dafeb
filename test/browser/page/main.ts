/** The page of the browser tests. The runner calls {@link runInPage} once per page; progress goes to the console. */
import type { BackendName } from '../../../shared/compute/backend-names.ts';
import { type PageResult, runChecks } from './results.ts';

/** Part of mocha's build for browsers. */
interface BrowserMocha {
  setup(options: object): void;
  run(): {
    on(event: 'pass' | 'fail', hear: (test: MochaTest, error?: Error) => void): void;
    on(event: 'end', hear: () => void): void;
  };
}

interface MochaTest {
  fullTitle(): string;
}

/** Runs one back end's checks; the suites, which get a hash of what Node says in a masked round; or a client, which gets its invite. */
async function runInPage(
  work: BackendName | 'suites' | 'federation' | 'lost-device',
  given: string,
): Promise<PageResult> {
  if (work === 'lost-device') return (await import('./federation.ts')).loseDevice(given);
  if (work === 'federation') return (await import('./federation.ts')).takePart(given);
  if (work !== 'suites') return (await import('./backend-checks.ts')).checkBackend(work);
  const { mocha } = globalThis as unknown as { readonly mocha: BrowserMocha };
  mocha.setup({ ui: 'bdd', reporter: class Silent {}, timeout: 0 });
  const { checkRound, describeSuites } = await import('./suites.ts');
  await describeSuites();
  const checks = await runChecks([['[BRW-5] a masked round says the same bytes as in Node', () => checkRound(given)]]);
  return new Promise((resolve) => {
    const runner = mocha.run();
    const note = (test: MochaTest, failure: string | null): void => {
      const name = test.fullTitle();
      console.log(name, failure ?? 'ok');
      checks.push({ name, failure });
    };
    runner.on('pass', (test) => note(test, null));
    runner.on('fail', (test, error) => note(test, error?.stack ?? String(error)));
    runner.on('end', () => resolve({ kind: 'run', device: null, checks }));
  });
}

Object.assign(globalThis, { runInPage });
