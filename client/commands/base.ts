/** The base model of a command: from its folder, on the back end that was asked for. */

import type { CommandContext } from '../../shared/command-line/context.ts';
import { type Backend, useBackend } from '../../shared/compute/backend.ts';
import { resolveBaseFolder } from '../../shared/model/hub.node.ts';
import { loadBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import type { LoadedBase } from '../../shared/model/load.ts';
import type { BaseComputeOptions } from './options.ts';

/** A base that is ready to compute. */
export interface ReadyBase extends LoadedBase {
  readonly backend: Backend;
  readonly folder: string;
}

/** What {@link readyBase} needs. */
export interface ReadyBaseOptions extends BaseComputeOptions {
  /** Folder of the checkpoint, or `hf:owner/name@revision`; the base that ships when it is left out. */
  readonly base?: string;
}

/** Starts the back end and loads the base, saying which. @throws as the back ends and the readers of checkpoints do. */
export async function readyBase(options: ReadyBaseOptions, context: CommandContext): Promise<ReadyBase> {
  const folder = options.base === undefined ? pretrainedFolder() : await resolveBaseFolder(options.base, context);
  const backend = await useBackend(options.backend, { threads: options.threads });
  const loaded = await loadBase(folder, { frozenWeights: options.frozenWeights });
  const { family, layerCount, hiddenSize } = loaded.model.description;
  context.log(`base ${folder} (${family}, ${layerCount} layers of ${hiddenSize}) on ${backend.name}`);
  for (const { name, reason } of backend.rejected) if (context.verbose) context.log(`not ${name}: ${reason}`);
  return { ...loaded, backend, folder };
}
