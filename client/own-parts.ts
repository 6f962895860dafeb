/**
 * A client's own parts of a plan's adapter: values of class `local`, which never leave it. They are kept from round to round and over restarts; a
 * round that turns out void has moved them all the same, which only means that they were trained a little more.
 */
import { bytesOf, float32Of } from '../shared/core/bytes.ts';
import { StoreError } from '../shared/core/errors.ts';
import type { Digest, FederationId } from '../shared/core/ids.ts';
import type { Exchange } from '../shared/update/exchange.ts';
import { personalDim, personalOf } from '../shared/update/training-start.ts';
import type { PersonalParts } from './platform/ports.ts';

/** The own parts under one plan. */
export interface OwnParts {
  /** Their values, null before the first training and where the plan leaves nothing with clients. */
  readonly values: () => Float32Array | null;
  /** Takes them from what was trained, `start + delta`, and makes them durable. @throws StoreError. */
  keep(start: Float32Array, delta: Float32Array): Promise<void>;
}

/** Under which name the own parts of one plan of one federation are kept. */
export function ownPartsName(federationId: FederationId, planHash: Digest): string {
  return `${federationId}-${planHash}`;
}

/** Reads what was kept under `name`. @throws StoreError when it is damaged. */
export async function openOwnParts(
  store: PersonalParts,
  { exchange, name }: { readonly exchange: Exchange; readonly name: string },
): Promise<OwnParts> {
  const size = personalDim(exchange);
  const stored = size === 0 ? null : await store.read(name);
  if (stored !== null && stored.length !== 4 * size) {
    throw new StoreError(
      'personal-damaged',
      `${name} must hold ${size} values of this client's own parts, found ${stored.length} bytes; restore it, or delete it to begin anew`,
    );
  }
  let values = stored === null ? null : float32Of(stored.slice());
  return {
    values: () => values,
    keep: async (start, delta) => {
      if (size === 0) return;
      values = personalOf(
        exchange,
        start.map((value, index) => value + delta[index]!),
      );
      await store.write(name, bytesOf(values));
    },
  };
}
