/** Functions of the product that read what comes from outside, found by their names, and those that fuzzing does not try itself. */
import { dirname, join } from 'node:path';
import { readSources } from '../house-rules/sources.ts';

const decoderName = /^export (?:async )?function\*? ((?:decode|import|open|parse|read)[A-Z]\w*)/;
const importLine = /^import \{([^}]*)\} from '(\.[^']+)'/gm;

/** Every decoder of the product: the file, and its name. */
export function findDecoders(): string[] {
  return readSources('shared', 'coordinator', 'client').flatMap(({ path, lines }) =>
    lines.flatMap((line) => {
      const name = decoderName.exec(line)?.[1];
      return name === undefined ? [] : [`${path} ${name}`];
    }),
  );
}

/** Everything that the targets of fuzzing import. */
export function findFuzzed(): ReadonlySet<string> {
  const files = readSources('test').filter(({ path }) => /^test\/simulation\/(fuzz|[\w-]+-targets)\.ts$/.test(path));
  const places = files.flatMap(({ path, text }) =>
    [...text.matchAll(importLine)].flatMap(([, names, from]) =>
      names!.split(',').map((name) => `${join(dirname(path), from!)} ${name.trim()}`),
    ),
  );
  return new Set(places);
}

const within = (outer: string) => `part of ${outer}, which is tried`;
const starts = 'starts something of our own: it decodes nothing that others wrote';

/** Decoders that no target calls, and why. */
export const unfuzzed: Readonly<Record<string, string>> = {
  'client/base-files.ts openBaseFiles': within('describeFiles of a checkpoint and readBaseFiles'),
  'client/commands/site-records.ts readSite': within('readRows and readRecords'),
  'client/learning-thread/thread-learner.node.ts openThreadLearner': starts,
  'client/own-parts.ts openOwnParts': within('readAdapterTensors'),
  'client/session/ledger.ts openLedger': within('the journal of a client'),
  'coordinator/audit/open-audit.ts openAudit': starts,
  'coordinator/audit/replay-masked.ts openMaskedRound':
    'its messages and parameters are tried as the transcript of a masked round and as round parameters; the vectors have hashes',
  'coordinator/audit/replay-state.ts openReplays': within(
    'openSqliteStore, transcripts, and the rows of openOperatorModel',
  ),
  'coordinator/canary/operator-model.ts openOperatorModel': within('readRows and describeFiles of a checkpoint'),
  'coordinator/commands/adapters-import.ts importAdapter': within('readAnyAdapter'),
  'coordinator/enrolment/quarantine.ts openQuarantine': starts,
  'coordinator/federation.ts openFederation': starts,
  'coordinator/library/lineage.ts readAdapter': within('readAdapterTensors'),
  'coordinator/masking/masked-sum.ts openSum':
    'vectors are bytes of any value, and their sum is tried as an opened sum',
  'coordinator/masking/opened-round.ts openRound': within('decodeContributions'),
  'coordinator/phases.ts openPhases': starts,
  'coordinator/rounds/closing.ts openEvaluation': starts,
  'coordinator/rounds/masking.ts openAttempt': starts,
  'coordinator/rounds/opening.ts openRound': starts,
  'coordinator/serving/engine-thread.ts openEngineThread': starts,
  'coordinator/store/blob-files.ts openFileBlobs': starts,
  'coordinator/store/state.ts openExistingState': within('openSqliteStore and openIdentity'),
  'coordinator/store/state.ts openState': within('openSqliteStore and openIdentity'),
  'shared/adapters/adapter-folder.node.ts readManifest': within('parseAdapterManifest and readAdapterFolder'),
  'shared/adapters/bottleneck-configuration.ts parseBottleneck': within('parseAdapter'),
  'shared/adapters/formats/adapterhub-bottleneck.ts readBottleneck': within('importFiles'),
  'shared/adapters/formats/adapterhub-head.ts readAdapterHubHead': within('importFiles'),
  'shared/adapters/formats/adapterhub.ts readAdapterHub': within('importFiles'),
  'shared/adapters/formats/heads.ts readHead': within('importFiles'),
  'shared/adapters/formats/peft.ts readPeft': within('importFiles'),
  'shared/adapters/lora.ts parseLora': within('parseAdapter'),
  'shared/adapters/settings.ts parseSettings': within('parseAdapter'),
  'shared/compute/backend.node.ts importOptional': starts,
  'shared/compute/native/engine.node.ts openEngine': starts,
  'shared/compute/webgpu.node.ts openDawn': starts,
  'shared/compute/webgpu.node.ts readSynchronously': starts,
  'shared/data/parquet-runs.ts readDeltas': within('readRecords'),
  'shared/data/parquet-thrift.ts readThrift': within('readRecords'),
  'shared/data/parquet-values.ts parseFeatures': within('readRecords'),
  'shared/data/rows.node.ts readRowsAs': within('readRows'),
  'shared/data/text-file.node.ts readLines': within('readRecords'),
  'shared/data/text-file.node.ts readText': within('readRecords'),
  'shared/identity/consortium.ts openCountersigned': within('openRevocations and judgeApproval'),
  'shared/model/byte-file.node.ts openByteFile': within('readBaseFiles'),
  'shared/model/byte-file.node.ts openDescriptor': within('readBaseFiles'),
  'shared/model/byte-source.ts readRange': within('readBaseFiles'),
  'shared/model/hub/client.node.ts openHub': starts,
  'shared/model/load.node.ts openBaseFiles': within('readBaseFiles'),
  'shared/model/safetensors-header.ts readHeader': within('readSafetensors'),
  'shared/model/shards.ts readSmallFile': within('describeFiles of a checkpoint in shards'),
  'shared/model/shards.ts readWeights': within('describeFiles of a checkpoint in shards'),
  'shared/plan/phases.ts parsePhases': within('parsePlan of a plan of phases'),
  'shared/privacy/distributed-noise.ts decodePrivately': within('decodeContributions'),
  'shared/protocol/signed.ts openSigned': within('openOffer and the other signed frames'),
  'shared/secure-aggregation/grouped-server.ts openGroupedAttempt': starts,
  'shared/secure-aggregation/opening.ts openSecrets': within('the transcript of a masked round'),
  'shared/secure-aggregation/quantise.ts decodeMean': within('decodeContributions'),
  'shared/secure-aggregation/server-machine.ts openAttempt': starts,
  'shared/training/activation-spill.node.ts openActivationSpill': starts,
};
