/** What a method contributes to be read from and written to AdapterHub's files. A new one is one file and a line in `adapterhub.ts`. */
import type { BaseDescription } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import type { Plan } from '../../plan/plan.ts';
import type { BoundAdapter } from '../registry.ts';
import type { FieldRules } from './config-fields.ts';
import type { TensorMapping } from './foreign-tensors.ts';
import type { FilledAdapter } from './peft-method.ts';
import type { PythonValue } from './python-json.ts';

/** What reading depends on beside the method's own configuration. */
export interface AdapterHubReading {
  readonly base: BaseDescription;
  /** Version of the library that wrote the file, as `[1, 2, 0]`; null for those before `adapters`. */
  readonly version: readonly number[] | null;
}

/** A method in AdapterHub's files. */
export interface AdapterHubMethod {
  /** The method of ours. */
  readonly method: string;
  /** Whether a configuration is of this method; `architecture` is null where it is absent, which means a bottleneck. */
  readonly recognises: (architecture: unknown, configuration: Configuration) => boolean;
  /** Fields of the configuration beside `architecture`. */
  readonly rules: FieldRules;
  /** Our settings. */
  readonly read: (configuration: Configuration, reading: AdapterHubReading) => Plan['adapter'];
  /** AdapterHub's fields. @throws UsageError `not-exportable` for what it cannot hold, with what can be done. */
  readonly write: (adapter: BoundAdapter, base: BaseDescription) => Readonly<Record<string, PythonValue>>;
  /** The same adapter in the form that the files have, where ours has others too. */
  readonly toFile?: (filled: FilledAdapter) => FilledAdapter;
  /** The tensors; `prefix` is that of the model that was adapted (`bert.`), `name` the adapter's. */
  readonly tensors: (
    adapter: BoundAdapter,
    base: BaseDescription,
    place: { readonly prefix: string; readonly name: string },
  ) => readonly TensorMapping[];
}
