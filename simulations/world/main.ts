/**
 * `npm run simulate`: worlds of many seeds, or one world again. `--seed N` begins at N, `--count` worlds (one where a seed is given alone). Prints
 * what was seen as JSON, with `--federation` of worlds of rounds and sessions in place of those of masked attempts; a rule that does not hold is printed with its seed, and the exit code is 1.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { RuleBroken } from '../checkers/check.ts';
import { createCoverage, encodeCoverage, missingFrom } from './coverage.ts';
import { createFederationCoverage, missingFromFederations, runFederation } from './federation-world.ts';
import { runWorld } from './world.ts';

const { values } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string' }, federation: { type: 'boolean' } },
});
const first = Number(values.seed ?? 0);
const count = Number(values.count ?? (values.seed === undefined ? 500 : 1));
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || first < 0 || count < 1) {
  process.stderr.write('simulate: expected --seed and --count to be whole numbers, the count at least 1\n');
  process.exit(2);
}

const coverage = createCoverage();
const federations = createFederationCoverage();
for (let seed = first; seed < first + count; seed++) {
  try {
    if (values.federation === true) runFederation(seed, federations);
    else runWorld(seed, coverage);
  } catch (error) {
    if (!(error instanceof RuleBroken)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
const { worlds, rounds } = federations;
const seen =
  values.federation === true
    ? { worlds, rounds, missing: missingFromFederations(federations) }
    : {
        ...encodeCoverage(coverage),
        missing: missingFrom(coverage, { opened: 1, aborted: 1, groupsOpened: 1, groupsLeftOut: 1 }),
      };
process.stdout.write(`${JSON.stringify(seen)}\n`);
