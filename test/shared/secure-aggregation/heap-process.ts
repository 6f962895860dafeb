/**
 * A process that makes a masked round, forgets it but for what its entropy gave, and looks through a snapshot of its heap for that: a snapshot
 * holds every string that can be reached, and no bytes of buffers, which `zeroing.test.ts` looks at. It prints what it found.
 */
import process from 'node:process';
import { toHex } from '../../../shared/core/bytes.ts';
import type { Entropy } from '../../../shared/core/ports.ts';
import { productionMachines } from '../../../simulations/world/machines.ts';
import { heapTexts } from '../../helpers/heap-texts.ts';
import { runCohort } from './cohort.ts';

/** Copies of everything that was drawn. */
const drawn: Uint8Array[] = [];

function remembering({ bytes }: Entropy): Entropy {
  return {
    bytes: (count) => {
      const given = bytes(count);
      drawn.push(Uint8Array.from(given));
      return given;
    },
  };
}

function round(): string {
  const { sum, server } = runCohort({
    clientCount: 5,
    machines: {
      ...productionMachines,
      startAttempt: (setting) => productionMachines.startAttempt({ ...setting, entropy: remembering(setting.entropy) }),
    },
  });
  return sum === null ? 'nothing' : server.phase.name;
}

/** How the bytes of a secret could stand in a text. */
function formsOf(secret: Uint8Array): string[] {
  const bytes = Buffer.from(secret);
  return [bytes.toString('hex'), bytes.toString('base64').slice(0, -2), bytes.toString('base64url'), [...bytes].join()];
}

const phase = round();
// As the product makes it: a text of many pieces.
const planted = process.argv[2] === 'plant' ? [`${'x'.repeat(4_000)}${toHex(drawn[0]!)}`] : [];
const snapshot = await heapTexts();
const secrets = drawn.filter(({ length }) => length >= 16);
const found = secrets.filter((secret) => formsOf(secret).some((form) => snapshot.includes(form))).length;
process.stdout.write(
  JSON.stringify({
    phase,
    secretCount: secrets.length,
    found,
    isWhole: snapshot.length > 1e6,
    planted: planted.length,
  }),
);
