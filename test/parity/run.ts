/**
 * `npm run test:parity [-- --strict] [-- --backend NAME …] [-- --representative]`: exits with 1 when a case fails, when none runs, and with
 * `--strict` when one is missing; with 77 when a back end that was asked for is not there. WebGPU without a graphics card runs in software where
 * Chromium brings it. The environment variable TRIBUTARY_FIXTURES names another folder of fixtures.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { type BackendName, backendNames, useBackend } from '../../shared/compute/backend.ts';
import { hasGraphicsCard } from '../../shared/compute/webgpu.node.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { softwareGraphics } from '../helpers/software-graphics.ts';
import { runParity } from './parity.ts';
import { representativeCases } from './representative.ts';

const notRunCode = 77;

function optionsOf(arguments_: readonly string[]) {
  const { values } = parseArgs({
    args: [...arguments_],
    options: {
      strict: { type: 'boolean', default: false },
      representative: { type: 'boolean', default: false },
      backend: { type: 'string', multiple: true, default: ['native', 'wasm', 'cpu'] },
    },
  });
  const unknown = values.backend.find((name) => !(backendNames as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`unknown back end ${unknown}; there are ${backendNames.join(', ')}`);
  return { ...values, backend: values.backend as BackendName[] };
}

/** Starts the suite again where graphics are computed in software; null where that is not needed. */
function inSoftware(backends: readonly BackendName[]): number | null {
  if (!backends.includes('webgpu') || hasGraphicsCard()) return null;
  const found = softwareGraphics();
  if (!found.ok) {
    console.log(`*** NOT RUN: parity on webgpu: no graphics card, and ${found.error}`);
    return notRunCode;
  }
  const env = { ...process.env, ...found.value };
  return spawnSync(process.execPath, process.argv.slice(1), { env, stdio: 'inherit' }).status ?? 1;
}

async function run(): Promise<number> {
  const { strict, representative, backend: backends } = optionsOf(process.argv.slice(2));
  const code = inSoftware(backends);
  if (code !== null) return code;
  for (const name of backends) {
    try {
      const { device } = await useBackend(name);
      if (device !== null) console.log(`${name} on ${device}`);
    } catch (thrown) {
      console.log(`*** NOT RUN: parity on ${name}: ${errorMessage(thrown)}`);
      return notRunCode;
    }
  }
  const { passed } = await runParity({
    fixtures: process.env.TRIBUTARY_FIXTURES ?? join(import.meta.dirname, 'fixtures'),
    backends,
    strict,
    ...(representative ? { only: representativeCases } : {}),
    print: (line) => console.log(line),
  });
  return passed ? 0 : 1;
}

try {
  process.exitCode = await run();
} catch (thrown) {
  console.error(errorMessage(thrown));
  process.exitCode = 2;
}
