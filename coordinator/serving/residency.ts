/** Which adapters are in memory: loaded when they are first asked for, and let go, the one that was used longest ago first, when room is needed. */

/** An adapter as the cache sees it. */
export interface Loadable {
  /** Names its values: another version has another key. */
  readonly key: string;
  /** What it takes in memory, about. */
  readonly bytes: number;
  load(): Promise<void>;
}

/** What {@link createResidency} needs. */
export interface ResidencyOptions {
  /** Room for adapters that nobody uses; those in use may take more. */
  readonly bytesMax: number;
  /** Frees an adapter that was loaded. */
  readonly drop: (key: string) => void;
}

/** The cache. */
export interface Residency {
  /** Loads an adapter unless it is there; resolves to what says, once, that it is no longer used. @throws what its `load` throws. */
  use(adapter: Loadable): Promise<() => void>;
  readonly counts: {
    readonly resident: number;
    readonly bytes: number;
    readonly loads: number;
    readonly evictions: number;
  };
}

interface Entry {
  readonly bytes: number;
  readonly loaded: Promise<void>;
  users: number;
  isLoaded: boolean;
}

/** An empty cache. */
export function createResidency({ bytesMax, drop }: ResidencyOptions): Residency {
  // In the order of their last use.
  const entries = new Map<string, Entry>();
  let [bytes, loads, evictions] = [0, 0, 0];
  const forget = (key: string, entry: Entry): void => {
    entries.delete(key);
    bytes -= entry.bytes;
  };
  const makeRoom = (): void => {
    for (const [key, entry] of entries) {
      if (bytes <= bytesMax) return;
      if (entry.users > 0 || !entry.isLoaded) continue;
      forget(key, entry);
      evictions++;
      drop(key);
    }
  };
  const begin = (adapter: Loadable): Entry => {
    const entry: Entry = { bytes: adapter.bytes, users: 0, isLoaded: false, loaded: adapter.load() };
    entry.loaded.then(
      () => {
        entry.isLoaded = true;
        loads++;
      },
      () => forget(adapter.key, entry),
    );
    bytes += entry.bytes;
    return entry;
  };
  return {
    use: async (adapter) => {
      const { key } = adapter;
      const entry = entries.get(key) ?? begin(adapter);
      entries.delete(key);
      entries.set(key, entry);
      entry.users++;
      makeRoom();
      await entry.loaded;
      let isUsed = true;
      return () => {
        if (!isUsed) return;
        isUsed = false;
        entry.users--;
        makeRoom();
      };
    },
    get counts() {
      return { resident: entries.size, bytes, loads, evictions };
    },
  };
}
