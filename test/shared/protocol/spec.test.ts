/** SPEC.md is held to the code wherever a program can do it: tables, names, limits, prefixes of hashes. */
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  adapterParametersMax,
  challengeLifetimeMs,
  chunkBytesMax,
  chunksInFlightMax,
  cohortSizeMax,
  envelopeWindowMs,
  inviteLifetimeHours,
  messageBytesMax,
  messageDepthMax,
} from '../../../shared/core/limits.ts';
import { signatureTypes } from '../../../shared/crypto/signature-input.ts';
import { taskKinds } from '../../../shared/plan/task.ts';
import { declineCodes } from '../../../shared/protocol/bodies.ts';
import { envelopeTypes } from '../../../shared/protocol/envelope.ts';
import { callNames, coordinatorEvents } from '../../../shared/protocol/messages.ts';
import { protocolVersion } from '../../../shared/protocol/version.ts';
import { violationMeanings } from '../../../shared/protocol/violations.ts';
import { calibrationBinCount, scoreBinCount } from '../../../shared/training/counts.ts';
import { root } from '../../house-rules/sources.ts';
import { protocolVectors } from '../../vectors/vectors.ts';

const spec = readFileSync(join(root, 'shared/protocol/SPEC.md'), 'utf8');
/** The text between two marks. */
const marked = (name: string): string => {
  const found = new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)\n<!-- /${name} -->`).exec(spec);
  assert.ok(found !== null, `SPEC.md has a part ${name}`);
  return found[1]!;
};
/** Cells of the rows of a table below its two lines of heading. */
const rowsOf = (table: string): string[][] =>
  table
    .split('\n')
    .slice(2)
    .map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
const quoted = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);

describe('SPEC.md', () => {
  it('[SPC-1] lists every violation with its meaning, kind of signature and reason to decline, in the order of the code', () => {
    const meanings = Object.entries(violationMeanings).map(([code, meaning]) => [`\`${code}\``, meaning]);
    assert.deepEqual(rowsOf(marked('violations')), meanings);
    assert.deepEqual(quoted(marked('types')), [...signatureTypes]);
    assert.deepEqual(quoted(marked('declines')), [...declineCodes]);
  });

  it('[SPC-2] describes every event, call and envelope', () => {
    const firstCells = spec.split('\n').flatMap((line) => /^\| `([^`]+)` \|/.exec(line)?.[1] ?? []);
    for (const name of [...coordinatorEvents, ...callNames, ...envelopeTypes])
      assert.ok(firstCells.includes(name), `${name} has a row of its own`);
  });

  it('[SPC-3] places every field of the round parameters where the frozen bytes have it', () => {
    const sizes: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, f64: 8, 'raw 16': 16, 'raw 32': 32 };
    const fields: Readonly<Record<string, number | string>> = protocolVectors.roundParams.value;
    const bytes = Buffer.from(protocolVectors.roundParams.bytes, 'hex');
    const rows = rowsOf(marked('roundParams'));
    let offset = 0;
    for (const [place, name, format] of rows) {
      assert.equal(Number(place), offset, name);
      const size = sizes[format!]!;
      const value = fields[name!]!;
      if (typeof value === 'string') assert.equal(bytes.toString('hex', offset, offset + size), value, name);
      else if (format === 'f64') assert.equal(bytes.readDoubleLE(offset), value, name);
      else assert.equal(bytes.readUIntLE(offset, size), value, name);
      offset += size;
    }
    assert.equal(offset, bytes.length);
    assert.deepEqual(
      rows.map(([, name]) => name),
      Object.keys(fields),
    );
    assert.match(spec, new RegExp(`RoundParams, ${bytes.length} bytes`));
  });

  it('[SPC-4] has the limits of the code', () => {
    const limits: readonly (readonly [string, string | number])[] = [
      ['bytes of a message', `${messageBytesMax};`],
      ['bytes of a chunk', chunkBytesMax],
      ['chunks of one client under way', chunksInFlightMax],
      ['life of a challenge', `${challengeLifetimeMs / 1000} s`],
      ['life of an invite', `${inviteLifetimeHours} h`],
      ['difference of clocks', `${envelopeWindowMs / 1000} s`],
      ['clients of a round', cohortSizeMax],
      ['values of an adapter', adapterParametersMax],
    ];
    for (const [what, limit] of limits) assert.ok(spec.includes(`| ${what} | ${limit}`), `${what}: ${limit}`);
    assert.ok(spec.includes(`nesting at most ${messageDepthMax}`));
    assert.ok(spec.includes(`\`protocol\` is ${protocolVersion} everywhere`));
  });

  it('[SPC-5] names every prefix that a hash or signature of the code begins with, and no other', () => {
    const sources = ['shared', 'coordinator', 'client'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => readFileSync(join(root, folder, name), 'utf8')),
    );
    const inCode = new Set(
      sources.flatMap((text) => [...text.matchAll(/utf8\('(TRIB-[A-Za-z0-9-]+)/g)].map(([, name]) => name)),
    );
    const inSpec = new Set([...spec.matchAll(/"(TRIB-[A-Za-z0-9-]+)/g)].map(([, name]) => name));
    assert.deepEqual(inSpec, inCode);
  });

  it('[SPC-9] says for every kind of task what an evaluation counts, with the bins of the code', () => {
    const table = spec.slice(spec.indexOf('| kind | targets |'), spec.indexOf('Entities are those of'));
    assert.deepEqual(
      rowsOf(table.trimEnd()).flatMap(([kind]) => quoted(kind!)),
      [...taskKinds],
    );
    assert.match(spec, new RegExp(`Histograms have ${scoreBinCount} bins`));
    assert.match(spec, new RegExp(`calibration ${calibrationBinCount} bins`));
  });
});
