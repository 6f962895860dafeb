/**
 * `npm run test:browser [-- suites federation lost-device webgpu webgl wasm cpu]`: the back ends and the suites of {@link file://./page} in a browser without a window.
 * Every one is reported as run, or loudly as not run with the reason, which never counts as passed: exits with 0 when all that was asked for
 * ran and passed, 1 when something failed, 77 when something did not run.
 */
import process from 'node:process';
import type { Browser } from 'playwright-core';
import { browserBackendNames } from '../../shared/compute/backend-names.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { said } from '../shared/secure-aggregation/said.ts';
import { bundlePage } from './bundle.ts';
import { findChromium, startChromium } from './chromium.ts';
import { openFederation } from './federation.ts';
import type { PageResult } from './page/results.ts';
import { type PageServer, servePage } from './server.ts';

const works = ['suites', 'federation', 'lost-device', ...browserBackendNames] as const;
type Work = (typeof works)[number];

/** Longest time of one page; graphics in software are slow. */
const pageMs = 900_000;
const notRunCode = 77;

async function runPage(
  work: Work,
  browser: Browser,
  { url, given }: { readonly url: string; readonly given: string },
): Promise<PageResult> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(pageMs);
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(error.message));
    if (process.env.SHOW_CONSOLE !== undefined)
      page.on('console', (message) => console.log(`  [${work}] ${message.text()}`));
    await page.goto(url);
    await page.waitForFunction('globalThis.runInPage !== undefined');
    const timeout = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`nothing after ${pageMs / 1000} s; ${faults.join('; ')}`)), pageMs).unref();
    });
    return await Promise.race([page.evaluate<PageResult>(`runInPage('${work}', '${given}')`), timeout]);
  } finally {
    await context.close();
  }
}

async function runWork(work: Work, browser: Browser, server: PageServer): Promise<PageResult> {
  const { url } = server;
  if (work !== 'federation' && work !== 'lost-device')
    return runPage(work, browser, { url, given: work === 'suites' ? said() : '' });
  const federation = await openFederation(new URL(url).origin, work);
  try {
    server.forwardTo(federation.url);
    const result = await runPage(work, browser, { url, given: federation.invite });
    if (result.kind === 'not-run') return result;
    return { ...result, checks: [...result.checks, ...(await federation.check())] };
  } finally {
    await federation.close();
  }
}

function report(work: Work, result: PageResult, seconds: number): number {
  if (result.kind === 'not-run') {
    console.log(`\n*** NOT RUN: ${work} in the browser: ${result.reason}`);
    return notRunCode;
  }
  const failed = result.checks.filter(({ failure }) => failure !== null);
  const passedCount = result.checks.length - failed.length;
  const device = result.device === null ? '' : ` on ${result.device}`;
  console.log(`${work}${device}: run, ${passedCount} passed, ${failed.length} failed (${seconds.toFixed(0)} s)`);
  for (const { name, failure } of result.checks) {
    if (failure !== null || work !== 'suites') console.log(`  ${failure === null ? 'ok    ' : 'FAILED'} ${name}`);
    if (failure !== null) console.log(`         ${failure.replaceAll('\n', '\n         ')}`);
  }
  return failed.length > 0 || result.checks.length === 0 ? 1 : 0;
}

async function runAll(wanted: readonly Work[]): Promise<number> {
  const program = findChromium();
  if (program === null) {
    console.log(
      '*** NOT RUN: browser tests: no Chromium here (Debian: apt-get install chromium; or set TRIBUTARY_CHROMIUM)',
    );
    return notRunCode;
  }
  const server = await servePage(await bundlePage());
  const browser = await startChromium(program);
  console.log(`Chromium ${browser.version()}`);
  const codes: number[] = [];
  try {
    for (const work of wanted) {
      const startMs = performance.now();
      try {
        const result = await runWork(work, browser, server);
        codes.push(report(work, result, (performance.now() - startMs) / 1000));
      } catch (thrown) {
        console.log(`${work}: FAILED: ${errorMessage(thrown)}`);
        codes.push(1);
      }
    }
  } finally {
    await browser.close();
    await server.close();
  }
  return codes.includes(1) ? 1 : Math.max(...codes);
}

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !(works as readonly string[]).includes(name));
if (unknown === undefined) process.exitCode = await runAll(asked.length === 0 ? works : (asked as Work[]));
else {
  console.error(`unknown argument ${unknown}; there are ${works.join(', ')}`);
  process.exitCode = 2;
}
