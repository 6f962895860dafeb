/**
 * `npm run test:parity [-- --strict]`: exits with 1 when a case fails, when none runs, and with `--strict` when one is missing.
 * The environment variable TRIBUTARY_FIXTURES names another folder of fixtures.
 */
import { join } from 'node:path';
import process from 'node:process';
import { runParity } from './parity.ts';

const unknown = process.argv.slice(2).filter((argument) => argument !== '--strict');
if (unknown.length > 0) {
  console.error(`unknown argument ${unknown[0]}; the only one is --strict`);
  process.exit(2);
}
const { passed } = await runParity({
  fixtures: process.env.TRIBUTARY_FIXTURES ?? join(import.meta.dirname, 'fixtures'),
  backends: ['native', 'wasm', 'cpu'],
  strict: process.argv.includes('--strict'),
  print: (line) => console.log(line),
});
process.exitCode = passed ? 0 : 1;
