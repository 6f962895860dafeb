/** What a parity case is, and what the suite knows about a folder of fixtures. */
import type { BaseModel } from '../../shared/model/base-model.ts';
import type { SafetensorsFile } from '../../shared/model/safetensors.ts';

/** What a case computed, under the names of the reference. */
export interface Findings {
  /** The reference's file: inputs, outputs, and `grad.<parameter>`. */
  readonly expected: SafetensorsFile;
  readonly outputs: ReadonlyMap<string, Float32Array>;
  /** Gradients by the reference's name of the parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  /** Names of the file's tensors that are inputs, beside those of every case. */
  readonly inputs?: RegExp;
}

/** One case. */
export interface ParityCase {
  /** Folder and case: `bert/houlsby`. */
  readonly name: string;
  /** What this version lacks to run it, or null. */
  readonly missing: string | null;
  /** Computes on the current back end. @throws when the case cannot be read or run. */
  readonly compute: (base: BaseModel) => Promise<Findings>;
  /** In place of `compute` for a part of a network, which needs no base. */
  readonly computeAlone?: () => Promise<Findings>;
}

/** A folder of fixtures: where, and what its base is. */
export interface FixtureFolder {
  readonly name: string;
  readonly path: string;
  /** Names of the files and folders in it. */
  readonly entries: ReadonlySet<string>;
}

/** One published way of writing cases down. */
export interface CaseKind {
  readonly recognises: (folder: FixtureFolder) => boolean;
  /** The cases of a folder, whatever its base is. */
  readonly open: (folder: FixtureFolder) => Promise<readonly ParityCase[]>;
}

/** A case that this version cannot run, and why. */
export function missingCase(name: string, missing: string): ParityCase {
  return { name, missing, compute: () => Promise.reject(new Error(`${name} is missing: ${missing}`)) };
}

/** A case that should run but cannot be read. */
export function brokenCase(name: string, cause: unknown): ParityCase {
  return { name, missing: null, compute: () => Promise.reject(cause) };
}
