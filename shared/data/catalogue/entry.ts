/**
 * What the catalogue knows of a data set: where it was published and at which commit, under which licence, and how it becomes rows that
 * Tributary trains on. Conversions are pure: the same published files give the same rows with any version of the same `conversion` number.
 */
import type { SplitSide } from '../split.ts';

/** One row of a converted set. Keys are written in this order. */
export interface CatalogueRow {
  readonly text: string;
  readonly label?: string;
  /** The natural owner of the row: a site, a character, a language. */
  readonly client?: string;
  /** Language or dialect code. */
  readonly lang: string;
}

/** Converted rows by side. */
export type CatalogueRows = Readonly<Record<SplitSide, readonly CatalogueRow[]>>;

/**
 * One file of a repository at a commit. A checksum is there where it is known for certain; without one the file is compared with the object id that
 * the commit stands for (`git-tree.node.ts`).
 */
export interface PublishedFile {
  /** Path within the repository; a whole repository (`archive`) has none. */
  readonly path: string;
  /** SHA-256 of the bytes, 64 hex digits. */
  readonly sha256?: string;
  /** The object id that git gives the file (SHA-1 of its header and bytes), 40 hex digits. */
  readonly gitBlob?: string;
}

/** Where a set was published: a repository on GitHub at a commit, and its files or, for sets of many small files, all of them at once. */
export interface Publication {
  /** `owner/name`. */
  readonly repository: string;
  /** 40 hex digits. */
  readonly commit: string;
  readonly files: readonly PublishedFile[];
  /** Instead of `files`: the folders of the repository's archive that are read, and how their files end. */
  readonly archive?: { readonly folders: RegExp; readonly ending: string };
}

/** Under which terms a set may be used. */
export interface Licence {
  /** SPDX identifier, or `public domain`. */
  readonly id: string;
  readonly url: string;
  /** What the terms ask for beyond naming the authors. */
  readonly note?: string;
}

/** A data set. */
export interface CatalogueEntry {
  /** Lower case, no blanks: the name on the command line. */
  readonly name: string;
  readonly title: string;
  /** Tasks of a plan that it suits. */
  readonly task: 'classification' | 'causal';
  readonly languages: readonly string[];
  readonly columns: readonly (keyof CatalogueRow)[];
  readonly labelCount: number | null;
  /** What `client` is; null where rows have no owner. */
  readonly clients: string | null;
  /** Rows of all sides together, roughly: exact numbers stand in what `data get` reports. */
  readonly rowsAbout: number;
  readonly licence: Licence;
  readonly attribution: string;
  readonly publication: Publication;
  /** How the rows are made, in words. */
  readonly made: string;
  /** Grows whenever the same files would give other rows. */
  readonly conversion: number;
  /** SHA-256 of the converted text of every side before compression, where somebody has recorded them. */
  readonly converted?: Readonly<Record<SplitSide, string>>;
  /**
   * Makes rows of the published files, by path.
   * @throws FormatError when a file is not what was published.
   */
  convert(files: ReadonlyMap<string, string>): CatalogueRows;
}
