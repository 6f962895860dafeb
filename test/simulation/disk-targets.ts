/** Decoders of files: what users write, what clients and coordinators keep, and folders that come from anywhere. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodePlatform, readSeed } from '../../client/platform/node.node.ts';
import { emptyJournal } from '../../client/platform/ports.ts';
import { openIdentity } from '../../coordinator/store/keys.node.ts';
import { openSqliteStore } from '../../coordinator/store/store-sqlite.ts';
import { createAdapterDocument, encodeAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { readAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import { readAnyAdapter } from '../../shared/adapters/formats/adapter-folders.node.ts';
import { contentOfFiles, openBase } from '../../shared/adapters/formats/open-base.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import { readRows } from '../../shared/data/rows.node.ts';
import { describeBase, readBaseFiles, readTokenizer } from '../../shared/model/load.node.ts';
import { readPlan, readPolicy } from '../../shared/plan/read-plan.node.ts';
import { initialValues, taskLayout } from '../../shared/training/initial-adapter.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { fixture } from '../shared/adapters/formats/fixtures.ts';
import { wordPieces } from '../shared/model/word-pieces.ts';
import { minimalPlan } from '../shared/plan/minimal-plan.ts';
import { someDigest as digest, diskTarget, type FolderTarget } from './fuzz-target.ts';

const plan = `format: tributary-plan-1
name: Example
base: { digest: ${digest} }
task:
  labels: &labels [a, "b"] # two
  pooling: first
adapter: { method: lora }
rounds: { count: 3, quorum: 2 }
`;
const policy = { format: 'tributary-policy-1', methods: ['lora'], baseDigests: [digest], cohortMin: 4, rankMax: 8 };
const journal = {
  format: 'tributary-client-journal-1',
  ...emptyJournal,
  sequenceBound: 64,
  contributions: { [digest]: { roundIndex: 1, roundHash: digest, sessionId: '5e'.repeat(16) } },
};
const text = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

/** The bytes of a coordinator's database that nobody uses any more. */
async function databaseBytes(): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-fuzz-'));
  try {
    await openSqliteStore(join(folder, 'a.sqlite')).close();
    return readFileSync(join(folder, 'a.sqlite'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Every target. */
export async function diskTargets(): Promise<FolderTarget[]> {
  const checkpoint = {
    'config.json': fixture('bert', 'config.json'),
    'model.safetensors': fixture('bert', 'model.safetensors'),
  };
  const files = { ...checkpoint, 'tokenizer.json': text(wordPieces) };
  const base = openBase(contentOfFiles(new Map(Object.entries(checkpoint))));
  const { description } = base;
  const adapter = parseAdapter({ method: 'lora', rank: 1 }, description);
  const task = { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 16 } as const;
  const layout = taskLayout(adapter, description, task);
  const document = createAdapterDocument({
    ...{ base: description, adapter: adapter.configuration, task, layout },
    parameters: initialValues(layout, adapter, 1),
  });
  const { manifest, tensors } = encodeAdapterDocument(document);
  const own = { 'adapter.json': manifest, 'adapter.safetensors': tensors };
  return [
    diskTarget('plan.yaml', { 'plan.yaml': utf8(plan) }, (folder) => readPlan(join(folder, 'plan.yaml'))),
    diskTarget('plan.json', { 'plan.json': text(minimalPlan()) }, (folder) => readPlan(join(folder, 'plan.json'))),
    diskTarget('policy.json', { 'policy.json': text(policy) }, (folder) => readPolicy(join(folder, 'policy.json'))),
    diskTarget('key of a client', { 'a.key': utf8('ab'.repeat(32)) }, (folder) => readSeed(join(folder, 'a.key'))),
    diskTarget('key of a coordinator', { 'identity.key': utf8('ab'.repeat(32)) }, (folder) =>
      openIdentity(folder, seededEntropy(1), {}),
    ),
    diskTarget('journal of a client', { 'journal.json': text(journal) }, async (folder) =>
      (await nodePlatform(folder)).journal.read(),
    ),
    diskTarget('database of a coordinator', { 'a.sqlite': await databaseBytes() }, async (folder) => {
      const store = openSqliteStore(join(folder, 'a.sqlite'));
      try {
        await Promise.all([store.federation(), store.rounds(), store.versions()]);
      } finally {
        await store.close();
      }
    }),
    diskTarget('folder of an adapter', own, (folder) => readAdapterFolder(folder)),
    diskTarget('folder of any adapter', own, (folder) => readAnyAdapter(folder, base)),
    diskTarget('folder of a base', files, (folder) => describeBase(folder)),
    diskTarget('tokenizer of a base', files, (folder) => readTokenizer(folder)),
    diskTarget('files of a base', files, (folder) => readBaseFiles(folder)),
    diskTarget('rows', { 'a.csv': utf8('text,label\n"one",a\ntwo,b\n') }, (folder) => readRows(join(folder, 'a.csv'))),
  ];
}
