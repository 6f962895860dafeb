/** What a method contributes to be read from and written to PEFT's files. A new one is one file and a line in `peft.ts`. */
import type { BaseDescription } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import type { Plan } from '../../plan/plan.ts';
import type { BoundAdapter } from '../registry.ts';
import type { FieldRules } from './config-fields.ts';
import type { TensorMapping } from './foreign-tensors.ts';
import type { Module } from './peft-targets.ts';
import type { PythonValue } from './python-json.ts';

/** What reading depends on beside the configuration. */
export interface PeftReading {
  readonly base: BaseDescription;
  /** The block's maps of the model that was adapted. */
  readonly modules: readonly Module[];
  /** Name of the configuration, for messages. */
  readonly source: string;
}

/** Values of a tensor of the base by its name in the bare model, as its file holds them. */
export type BaseTensor = (name: string) => Float32Array;

/** An adapter with its tensors by our names. */
export interface FilledAdapter {
  readonly adapter: BoundAdapter;
  readonly values: ReadonlyMap<string, Float32Array>;
}

/** A method in PEFT's files. */
export interface PeftMethod {
  /** `peft_type`. */
  readonly type: string;
  /** The methods of ours. */
  readonly methods: readonly string[];
  /** Whether modules can be saved beside it (`modules_to_save`). */
  readonly hasSavedModules: boolean;
  /** Fields of `adapter_config.json` beside those that all types have. */
  readonly rules: FieldRules;
  /** Our settings. @throws FormatError `unsupported-adapter`. */
  readonly read: (configuration: Configuration, reading: PeftReading) => Plan['adapter'];
  /** PEFT's fields for our settings. @throws UsageError `not-exportable` for what PEFT cannot hold, with what can be done. */
  readonly write: (adapter: BoundAdapter, base: BaseDescription) => Readonly<Record<string, PythonValue>>;
  /** The same adapter in the form that PEFT's files have, where ours has others too. */
  readonly toFile?: (filled: FilledAdapter, base: BaseDescription, baseTensor: BaseTensor) => FilledAdapter;
  /** Our values from those of the file, where they are not the same. */
  readonly fromFile?: (filled: FilledAdapter, base: BaseDescription, baseTensor: BaseTensor) => FilledAdapter['values'];
  /** The tensors; `prefix` is `base_model.model.` with that of the model that was adapted: `base_model.model.bert.`. */
  readonly tensors: (adapter: BoundAdapter, base: BaseDescription, prefix: string) => readonly TensorMapping[];
}
