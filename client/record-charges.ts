/**
 * What training has cost the records of a site in one federation, where its plan protects single records. Durable before an update leaves the site,
 * so that neither a new start nor other records make it forget.
 */
import * as z from 'zod/mini';
import { utf8 } from '../shared/core/bytes.ts';
import { StoreError } from '../shared/core/errors.ts';
import type { FederationId } from '../shared/core/ids.ts';
import type { RecordCharge } from '../shared/plan/record-privacy.ts';
import type { PersonalParts } from './platform/ports.ts';

/** The charges of a site. */
export interface RecordCharges {
  readonly values: () => readonly RecordCharge[];
  /** Replaces them; durable when it returns. @throws StoreError. */
  keep(charges: readonly RecordCharge[]): Promise<void>;
}

const whole = z.int().check(z.gte(1));
const chargesSchema = z.array(
  z.strictObject({
    recordCount: whole,
    stepsPerRound: whole,
    noiseMultiplier: z.number().check(z.gt(0)),
    numbers: whole,
  }),
);

/** Reads the charges of a federation. @throws StoreError when they are damaged. */
export async function openRecordCharges(store: PersonalParts, federationId: FederationId): Promise<RecordCharges> {
  const name = `${federationId}-charges`;
  const stored = await store.read(name);
  let charges = stored === null ? [] : read(stored, name);
  return {
    values: () => charges,
    keep: async (next) => {
      await store.write(name, utf8(JSON.stringify(next)));
      charges = next;
    },
  };
}

function read(bytes: Uint8Array, name: string): readonly RecordCharge[] {
  let value: unknown = null;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // What is no JSON is no list of charges either.
  }
  const parsed = chargesSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new StoreError(
    'personal-damaged',
    `${name} must hold what this site's records were charged, found something else; restore it: without it nobody knows what they have cost`,
  );
}
