/**
 * `tributary personalise`: an adapter of a federation as this site uses it. What a federation publishes holds start values where its plan leaves parts
 * with the clients; here this site's own parts take their places. The result is this site's alone: it has no lineage, and nobody signed it.
 */
import { access } from 'node:fs/promises';
import type { Command } from 'commander';
import { createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { readAdapterFolder, writeAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { float32Of, fromHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';
import { ownPartsName } from '../own-parts.ts';
import { nodePlatform } from '../platform/node.node.ts';

interface PersonaliseOptions {
  readonly adapter: string;
  readonly state: string;
  readonly out: string;
}

/** What `personalise` reports. */
export interface PersonaliseReport {
  readonly adapter: string;
  readonly folder: string;
  readonly modelHash: string;
  /** Tensors that are this site's own. */
  readonly own: readonly string[];
}

/** Adds `personalise`. */
export function registerPersonalise(program: Command, context: CommandContext): void {
  program
    .command('personalise')
    .description('put what this site kept for itself into an adapter of its federation, for use at this site')
    .requiredOption('--adapter <folder>', 'a version of the federation, as adapters export writes it')
    .requiredOption('--state <folder>', 'the state of this site, as tributary client keeps it')
    .requiredOption('--out <folder>', 'where the adapter goes; it holds what never left this site')
    .action(async (options: PersonaliseOptions) => personalise(options, context));
}

async function personalise({ adapter, state, out }: PersonaliseOptions, context: CommandContext): Promise<void> {
  const document = await readAdapterFolder(adapter);
  const { lineage, layout, parameters } = document;
  const own = layout.tensors.filter(({ aggregationClass }) => aggregationClass === 'local');
  if (lineage === null || own.length === 0) {
    const lack = lineage === null ? 'does not say which federation it is of' : 'has no parts that stay with clients';
    throw new UsageError(
      'nothing-to-personalise',
      `the adapter in ${adapter} ${lack}; give one that adapters export wrote`,
    );
  }
  const opened = openVersionRecord(fromHex(lineage.coordinatorKey), {
    record: fromHex(lineage.record),
    signature: fromHex(lineage.signature),
  });
  if (!opened.ok) throw new UsageError('bad-lineage', `the lineage of ${adapter} is refused: ${opened.error.detail}`);
  const { federationId, planHash } = opened.value;
  // Opening a state folder makes it: one that is not there was misspelt.
  await access(state).catch(() => {
    throw new UsageError('no-state', `there is no folder ${state}; give the --state of tributary client`);
  });
  const { personal } = await nodePlatform(state);
  const kept = await personal.read(ownPartsName(federationId, planHash));
  const size = own.reduce((sum, tensor) => sum + tensor.size, 0);
  if (kept === null || kept.length !== 4 * size) {
    const found = kept === null ? 'holds none' : `holds ${kept.length} bytes, expected ${4 * size}`;
    throw new UsageError(
      'no-own-parts',
      `${state} ${found} of the own parts under plan ${planHash}; this site trains in that federation first`,
    );
  }
  const values = parameters.slice();
  const parts = float32Of(kept.slice());
  let place = 0;
  for (const tensor of own) {
    values.set(parts.subarray(place, place + tensor.size), tensor.offset);
    place += tensor.size;
  }
  const { base, adapter: configuration, task } = document;
  const personalised = createAdapterDocument({ base, adapter: configuration, task, layout, parameters: values });
  await writeAdapterFolder(out, personalised);
  const report: PersonaliseReport = {
    adapter,
    folder: out,
    modelHash: personalised.modelHash,
    own: own.map(({ name }) => name),
  };
  context.report(
    report,
    `${out} has ${own.length} tensors of this site's own; measure it with: tributary evaluate --adapter ${out} --data FILE`,
  );
}
