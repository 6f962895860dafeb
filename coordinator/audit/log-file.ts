/**
 * A log as one file that a stranger can check (`tributary audit export`): JSON lines, first the federation and the key of its coordinator, then
 * entries, checkpoints and signed version records in their order.
 */
import * as z from 'zod/mini';
import { FormatError, UsageError } from '../../shared/core/errors.ts';
import type { FederationRecord, VersionRow } from '../store/store.ts';
import type { CheckpointRow, LogRow } from './log-store.ts';
import type { ReceiptDocument } from './verify.ts';

/** A log and what it is about. */
export interface LogDocument {
  readonly federation: FederationRecord;
  /** Hex of the coordinator's public key. */
  readonly coordinatorKey: string;
  readonly rows: readonly LogRow[];
  readonly checkpoints: readonly CheckpointRow[];
  readonly versions: readonly VersionRow[];
}

const format = 'tributary-log-1';
const hex = z.string().check(z.regex(/^([0-9a-f]{2})*$/));
const whole = z.int().check(z.nonnegative());
const lineSchema = z.union([
  z.strictObject({
    format: z.literal(format),
    coordinatorKey: hex.check(z.length(64)),
    federation: z.looseObject({ federationId: hex, planHash: hex, baseDigest: hex, layoutHash: hex, plan: z.string() }),
  }),
  z.strictObject({ sequence: whole, entry: hex, payload: z.string() }),
  z.strictObject({ size: whole, checkpoint: hex, signature: hex }),
  z.strictObject({
    version: whole,
    roundIndex: z.int(),
    adapter: hex,
    modelHash: hex,
    ruleState: z.nullable(hex),
    record: hex,
    signature: hex,
    publishedMs: whole,
    contributed: whole,
  }),
]);

/** The text of a log file. */
export function writeLogFile({ federation, coordinatorKey, rows, checkpoints, versions }: LogDocument): string {
  const lines: unknown[] = [{ format, coordinatorKey, federation }, ...rows, ...checkpoints, ...versions];
  return `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;
}

/** Reads a log file. Nothing in it is trusted yet. @throws FormatError `bad-log` with the line. */
export function readLogFile(text: string, source: string): LogDocument {
  const rows: LogRow[] = [];
  const checkpoints: CheckpointRow[] = [];
  const versions: VersionRow[] = [];
  let head: Pick<LogDocument, 'federation' | 'coordinatorKey'> | null = null;
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const fault = (what: string) => new FormatError('bad-log', `${source}, line ${index + 1}: ${what}`);
    const parsed = z.safeParse(lineSchema, parseJson(line, fault));
    if (!parsed.success) throw fault('expected a line as `tributary audit export` writes it');
    const { data } = parsed;
    if ('format' in data) head ??= { coordinatorKey: data.coordinatorKey, federation: data.federation as never };
    else if ('sequence' in data) rows.push(data);
    else if ('version' in data) versions.push(data as never);
    else checkpoints.push(data);
  }
  if (head === null) throw new FormatError('bad-log', `${source}: expected a log that begins with its federation`);
  return { ...head, rows, checkpoints, versions };
}

const receiptSchema = z.looseObject({
  format: z.literal('tributary-receipt-1'),
  federationId: hex,
  coordinatorKey: hex,
  roundIndex: whole,
  receipt: hex,
  proof: z.string().check(z.regex(/^([0-9a-f]{2})+$/)),
});

/** Reads the receipt that a client kept. @throws UsageError `bad-receipt`. */
export function parseReceipt(text: string, source: string): ReceiptDocument {
  try {
    const { proof, federationId, coordinatorKey, roundIndex, receipt } = z.parse(receiptSchema, JSON.parse(text));
    return { source, proof, claims: { federationId, coordinatorKey, roundIndex, receipt } };
  } catch (cause) {
    const next = 'give a file …-receipt-N.json from the folder evidence/ of a site';
    throw new UsageError('bad-receipt', `${source} is no receipt that a client kept; ${next}`, { cause });
  }
}

function parseJson(line: string, fault: (what: string) => FormatError): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw fault('expected JSON');
  }
}
