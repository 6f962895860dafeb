/** Every decoder that reads what others wrote, or what stood on a disk, with valid samples of what it reads. */
import { parseMetric } from '../../client/commands/options.ts';
import { JsonListError, jsonElements } from '../../shared/data/json-records.ts';
import { parsePartition } from '../../shared/data/partition.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { readStatement } from '../../shared/plan/privacy.ts';
import { parseTraining } from '../../shared/plan/training.ts';
import { minimalPlan } from '../shared/plan/minimal-plan.ts';
import { auditTargets, logTarget } from './audit-targets.ts';
import { diskTargets } from './disk-targets.ts';
import {
  type ByteTarget,
  someDigest as digest,
  type FolderTarget,
  textTarget,
  type ValueTarget,
} from './fuzz-target.ts';
import { identityTargets } from './identity-targets.ts';
import { modelFolderTargets, modelTargets, settingsTargets } from './model-targets.ts';
import { openingTargets, transcriptTargets } from './opening-targets.ts';
import { requestTargets } from './request-targets.ts';
import { roundTargets } from './round-targets.ts';
import { handshakeTargets, sessionTargets } from './session-targets.ts';

/** Two phases, of which the second goes on from the first. */
function phasedPlan(): unknown {
  return {
    ...minimalPlan(),
    phases: [
      { name: 'one', adapter: { method: 'bottleneck', size: 4 } },
      { name: 'two', start: 'one', training: { localEpochs: 2 } },
    ],
  };
}

/** Decoders of bytes and of text. */
export async function byteTargets(): Promise<ByteTarget[]> {
  return [
    ...sessionTargets(),
    ...roundTargets(),
    ...openingTargets(),
    ...identityTargets(),
    ...modelTargets(),
    ...(await auditTargets()),
    textTarget(
      'statement of privacy',
      [
        'all that one client has: epsilon 1.5 of 8 at delta 1e-5, counted exactly, against everybody but the coordinator; rest',
        'every single record, at delta 1e-5: what it has spent is at most 8; against everybody; rest',
      ],
      readStatement,
    ),
    textTarget('partition', ['dirichlet:0.5', 'natural:clinic'], parsePartition),
    textTarget('metric', ['macro-f1'], (text) => {
      // Commander says it in its own words.
      try {
        parseMetric(text);
      } catch (thrown) {
        if (!(thrown instanceof Error && thrown.message.startsWith('Expected one of'))) throw thrown;
      }
    }),
  ];
}

/** Decoders of values. */
export async function valueTargets(): Promise<ValueTarget[]> {
  return [
    await logTarget(),
    ...handshakeTargets(),
    ...settingsTargets(),
    ...transcriptTargets(),
    ...requestTargets(),
    { name: 'plan', sample: minimalPlan(), decode: (value) => parsePlan(value, 'fuzz') },
    { name: 'plan of phases', sample: phasedPlan(), decode: (value) => parsePlan(value, 'fuzz') },
    {
      name: 'settings of training',
      sample: { localSteps: 3, batchSize: 2, gradientClipNorm: 1, seed: 5 },
      decode: (value) => parseTraining(value, 'fuzz'),
    },
    {
      name: 'policy',
      sample: { format: 'tributary-policy-1', methods: ['lora'], baseDigests: [digest], cohortMin: 4, rankMax: 8 },
      decode: (value) => parsePolicy(value, 'fuzz'),
    },
  ];
}

/** Decoders of several files. */
export async function folderTargets(): Promise<FolderTarget[]> {
  return [...modelFolderTargets(), ...(await diskTargets())];
}

/** The elements of a JSON document in chunks of `chunkSize`. Errors of the document itself are its own. */
export async function readJsonList(text: string, chunkSize: number): Promise<void> {
  async function* chunks(): AsyncGenerator<string> {
    for (let at = 0; at < text.length; at += chunkSize) yield text.slice(at, at + chunkSize);
  }
  try {
    for await (const _ of jsonElements(chunks(), 1000));
  } catch (error) {
    if (!(error instanceof JsonListError)) throw error;
  }
}
