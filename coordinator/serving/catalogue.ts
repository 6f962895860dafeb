/** The adapters that a server offers, by name and version, from all of its sources; they are looked at again and again, so that what is published meanwhile is served. */
import type { AdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { nearest } from '../../shared/plan/nearest.ts';
import type { Plan } from '../../shared/plan/plan.ts';

/** The base that all adapters must have been made for. */
export type ServedBase = Pick<BaseDescription, 'digest' | 'family'>;

/** Where a version comes from, as its signed record says. */
export interface ServedLineage {
  readonly federationId: string;
  readonly planHash: string;
  readonly parentModelHash: string | null;
  readonly roundIndex: number | null;
  readonly contributors: number;
  readonly privacy: string;
  readonly metrics: object | null;
  readonly signedBy: string;
}

/** One version of an adapter. */
export interface ServedVersion {
  /** Names its content among all that a server ever offers. */
  readonly key: string;
  /** Of a federation its number, of a folder the beginning of its model hash. */
  readonly version: string;
  readonly modelHash: string;
  /** Null where no federation published it. */
  readonly lineage: ServedLineage | null;
  /** What it is; costs a little where it was not asked before. */
  facts(): { readonly adapter: Plan['adapter']; readonly task: Plan['task']; readonly dim: number };
  /** Reads and checks its values. */
  read(): Promise<AdapterDocument>;
}

/** An adapter: its versions, oldest first, at least one. */
export interface ServedAdapter {
  readonly name: string;
  readonly versions: readonly ServedVersion[];
}

/** A place with adapters. */
export interface AdapterSource {
  /** Looks again, and gives what is there now. A fault of one adapter is told and leaves the others. @throws where nothing can be read. */
  look(): Promise<readonly ServedAdapter[]>;
  close(): Promise<void>;
}

/** What a request names: the adapter and the version that it gets now. */
export interface Resolved {
  readonly name: string;
  readonly version: ServedVersion;
}

/** The adapters of all sources. */
export interface Catalogue {
  /** Looks at all sources again. @throws UsageError `same-name` where two sources have a name; what a source throws. */
  refresh(): Promise<void>;
  readonly adapters: readonly ServedAdapter[];
  /** The latest version of `name`, or that of `name@version`. @throws UsageError `no-such-adapter`, `no-such-version`. */
  resolve(reference: string): Resolved;
  close(): Promise<void>;
}

/** Names of adapters: parts of an address as they stand. */
export const servedNames = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** A catalogue that has not looked yet. */
export function createCatalogue(sources: readonly AdapterSource[]): Catalogue {
  let adapters: readonly ServedAdapter[] = [];
  let byName = new Map<string, ServedAdapter>();
  return {
    refresh: async () => {
      const found = (await Promise.all(sources.map((source) => source.look()))).flat();
      const names = new Map<string, ServedAdapter>();
      for (const adapter of found) {
        if (names.has(adapter.name))
          throw new UsageError('same-name', `two adapters are called ${adapter.name}; give one as OTHER-NAME=FOLDER`);
        names.set(adapter.name, adapter);
      }
      [adapters, byName] = [found, names];
    },
    get adapters() {
      return adapters;
    },
    resolve: (reference) => {
      const [name = '', asked, ...more] = reference.split('@');
      const adapter = more.length === 0 ? byName.get(name) : undefined;
      if (adapter === undefined) throw noSuchAdapter(name, [...byName.keys()]);
      const { versions } = adapter;
      const version = asked === undefined ? versions.at(-1) : versions.find((one) => one.version === asked);
      if (version !== undefined) return { name, version };
      const known = versions.map((one) => one.version).slice(-5);
      const shown = versions.length > known.length ? `…, ${known.join(', ')}` : known.join(', ');
      throw new UsageError('no-such-version', `${name} has no version ${asked?.slice(0, 100)}; there are ${shown}`);
    },
    close: async () => {
      await Promise.all(sources.map((source) => source.close()));
    },
  };
}

function noSuchAdapter(name: string, names: readonly string[]): UsageError {
  const near = nearest(name, names);
  const hint = near === null ? 'GET /adapters lists them' : `did you mean ${near}?`;
  return new UsageError('no-such-adapter', `there is no adapter ${JSON.stringify(name.slice(0, 100))}; ${hint}`);
}
