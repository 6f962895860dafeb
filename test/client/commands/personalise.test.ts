import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register } from '../../../client/commands.ts';
import { ownPartsName } from '../../../client/own-parts.ts';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { readAdapterFolder, writeAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { bytesOf, toHex } from '../../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../../shared/core/ids.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { sealVersionRecord } from '../../../shared/protocol/version-record.ts';
import { taskLayout } from '../../../shared/training/initial-adapter.ts';
import { federatedLayout, plainExchange } from '../../../shared/update/federated-layout.ts';
import { bertLike } from '../../shared/adapters/bases.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

const base = bertLike(1, 8, 16);
const federationId = 'fe'.repeat(32) as FederationId;
const planHash = 'ab'.repeat(32) as Digest;
const identity = identityFromSeed(new Uint8Array(32).fill(3));

async function personalise(...argv: string[]) {
  const terminal = fakeTerminal();
  const groups = [{ commands: { client: 'client', personalise: 'personalise' }, load: async () => ({ register }) }];
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv: ['personalise', ...argv], version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('personalise, the command', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-personalise-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** A version of a federation whose head stays with the clients, as an export. */
  async function writeVersion(name: string, personal: readonly string[], isSigned = true): Promise<string> {
    const adapter = parseAdapter({ method: 'lora', rank: 2 }, base);
    const task: Task = {
      kind: 'classification',
      labels: ['no', 'yes'],
      pooling: 'first',
      lengthMax: 8,
    } as Task;
    const layout = federatedLayout(taskLayout(adapter, base, task), { ...plainExchange, personal });
    const parameters = new Float32Array(layout.dim).fill(0.5);
    const document = createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });
    const { record, signature } = sealVersionRecord(identity, {
      federationId,
      versionIndex: 1,
      round: null,
      modelHash: document.modelHash,
      parentModelHash: null,
      baseDigest: base.digest,
      planHash,
      layoutHash: document.layoutHash,
      adapterDigest: digestOf(bytesOf(parameters)),
      aggregationRule: 'fedavg',
      contributors: [],
      cohort: [],
      survivorCount: 0,
      rejections: [],
      totalWeight: 0,
      metrics: null,
      measures: [],
      privacy: 'none',
      createdAtMs: 0,
    });
    const lineage = {
      record: toHex(record),
      signature: toHex(signature),
      coordinatorKey: toHex(identity.publicKey),
    };
    const path = join(folder, name);
    await writeAdapterFolder(path, isSigned ? { ...document, lineage } : document);
    return path;
  }

  it("[PRS-1] puts this site's own parts in their places and leaves the rest as it was published", async () => {
    const version = await writeVersion('shared', ['head']);
    const state = join(folder, 'state');
    const { personal } = await nodePlatform(state);
    const own = Float32Array.from({ length: 8 * 2 + 2 }, (_, index) => index);
    await personal.write(ownPartsName(federationId, planHash), bytesOf(own));
    const out = join(folder, 'mine');
    const { code, output, errors } = await personalise('--adapter', version, '--state', state, '--out', out, '--json');
    assert.equal(code, 0, errors);
    assert.deepEqual(JSON.parse(output).own, ['head.kernel', 'head.bias']);
    const { parameters, layout, lineage } = await readAdapterFolder(out);
    const head = layout.tensors.find(({ name }) => name === 'head.kernel')!.offset;
    assert.deepEqual(parameters.subarray(head), own);
    assert.ok(parameters.subarray(0, head).every((value) => value === 0.5));
    assert.equal(lineage, null);
  });

  it('[PRS-2] refuses an adapter without such parts or lineage, a site that never trained, and a folder that is not there', async () => {
    const state = join(folder, 'fresh');
    await nodePlatform(state);
    const run = async (adapter: string, from = state) =>
      (await personalise('--adapter', adapter, '--state', from, '--out', join(folder, 'none'))).errors;
    assert.match(await run(await writeVersion('plain', [])), /has no parts that stay with clients/);
    assert.match(await run(await writeVersion('unsigned', ['head'], false)), /does not say which federation/);
    const version = await writeVersion('untrained', ['head']);
    assert.match(await run(version), /holds none of the own parts under plan abab/);
    const missing = join(folder, 'missing');
    assert.match(await run(version, missing), /there is no folder/);
    assert.ok(!existsSync(missing) && !existsSync(join(folder, 'none')));
    const { personal } = await nodePlatform(state);
    await personal.write(ownPartsName(federationId, planHash), new Uint8Array(8));
    assert.match(await run(version), /holds 8 bytes, expected 72/);
  });
});
