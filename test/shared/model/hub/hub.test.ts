import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../../../shared/core/bytes.ts';
import { FederationError } from '../../../../shared/core/errors.ts';
import { lockFolder } from '../../../../shared/core/folder-lock.node.ts';
import { openHub } from '../../../../shared/model/hub/client.node.ts';
import { resolveBaseFolder } from '../../../../shared/model/hub.node.ts';
import { describeBase } from '../../../../shared/model/load.node.ts';
import { describeFiles } from '../../../../shared/model/load.ts';
import { sharded } from '../checkpoint-files.ts';
import { fixtureFiles } from '../fixtures.ts';
import { type HubRepository, type HubServer, startHub } from './hub-server.ts';

const commit = '0123456789abcdef0123456789abcdef01234567';
const manifest = 'tributary-manifest.json';

/** A repository with a base, and with files that nobody needs. */
function repositoryOf(files: ReadonlyMap<string, Uint8Array>): HubRepository {
  const surplus = new Map([
    ['README.md', utf8('# a model')],
    ['pytorch_model.bin', utf8('never fetched')],
    ['consolidated.safetensors', utf8('never fetched either')],
  ]);
  const tokenizer = new Map([['tokenizer.json', utf8('{}')]]);
  return { commit, revisions: ['main', 'v1.0', 'refs/pr/1'], files: new Map([...surplus, ...tokenizer, ...files]) };
}

describe('resolveBaseFolder', () => {
  let hub: HubServer;
  let cache: string;
  let lines: string[];
  let progress: string[];
  let waits: number[];
  let variables: Record<string, string>;
  let onUpdate: (done: number) => void = () => undefined;

  beforeEach(async () => {
    hub = await startHub(
      new Map([
        ['owner/bert', repositoryOf(fixtureFiles('bert'))],
        ['owner/sharded', repositoryOf(sharded(fixtureFiles('bert'), 3))],
      ]),
    );
    cache = mkdtempSync(join(tmpdir(), 'tributary-hub-'));
    variables = { HF_ENDPOINT: hub.endpoint, TRIBUTARY_CACHE: cache };
    [lines, progress, waits] = [[], [], []];
  });
  afterEach(async () => {
    await hub.close();
    rmSync(cache, { recursive: true });
  });

  const resolve = (reference: string, signal = new AbortController().signal): Promise<string> =>
    resolveBaseFolder(
      reference,
      {
        log: (line) => lines.push(line),
        progress: ({ label, total }) => ({
          update: (done) => {
            progress.push(`${label} ${done}/${total}`);
            onUpdate(done);
          },
          finish: () => undefined,
        }),
        signal,
      },
      { environment: variables, wait: async (ms) => void waits.push(ms) },
    );
  const refusal = async (reference: string, code: string): Promise<string> => {
    try {
      await resolve(reference);
    } catch (thrown) {
      assert.ok(thrown instanceof FederationError && thrown.code === code, String(thrown));
      return thrown.message;
    }
    assert.fail('it was accepted');
  };
  const downloads = () => hub.requests.filter((request) => /\/(resolve|large)\//.test(request));

  it('[HUB-1] leaves folders alone', async () => {
    assert.equal(await resolve('./some/folder'), './some/folder');
    assert.deepEqual(hub.requests, []);
  });

  it('[HUB-2] fetches what a base needs and nothing else, pins the commit, and says so', async () => {
    const folder = await resolve('hf:owner/bert');
    assert.equal(folder, join(cache, 'hub', new URL(hub.endpoint).host.replace(':', '_'), 'owner--bert', commit));
    const names = ['README.md', 'config.json', 'model.safetensors', 'tokenizer.json', manifest];
    assert.deepEqual(readdirSync(folder).sort(), names);
    const files = new Map(fixtureFiles('bert')).set('tokenizer.json', utf8('{}'));
    assert.deepEqual(await describeBase(folder), describeFiles(files));
    assert.match(lines.join('\n'), new RegExp(`^hf:owner/bert@${commit}: fetching into `));
    const total = [...files.values(), utf8('# a model')].reduce((sum, { length }) => sum + length, 0);
    assert.equal(progress.at(-1), `hf:owner/bert@${commit} ${total}/${total}`);
    const kept = JSON.parse(readFileSync(join(folder, manifest), 'utf8')) as Record<string, unknown>;
    assert.deepEqual([kept.repository, kept.commit, kept.endpoint], ['owner/bert', commit, hub.endpoint]);
  });

  it('[HUB-3] fetches the shards that an index lists', async () => {
    const folder = await resolve('hf:owner/sharded@v1.0');
    const names = readdirSync(folder).filter((name) => name.startsWith('model'));
    assert.deepEqual(names.sort(), [
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    assert.equal((await describeBase(folder)).parameterCount, describeFiles(fixtureFiles('bert')).parameterCount);
  });

  it('[HUB-4] uses what is there: without a download, and for a commit without a request', async () => {
    const folder = await resolve('hf:owner/bert@main');
    const before = downloads().length;
    assert.equal(await resolve('hf:owner/bert@refs/pr/1'), folder);
    assert.equal(downloads().length, before);
    assert.equal(lines.at(-1), `hf:owner/bert@${commit}, from the cache`);
    const requests = hub.requests.length;
    assert.equal(await resolve(`hf:owner/bert@${commit}`), folder);
    assert.equal(hub.requests.length, requests);
  });

  it('[HUB-5] works without the hub once a base is there, and says that it does', async () => {
    const folder = await resolve('hf:owner/bert');
    await hub.close();
    assert.equal(await resolve('hf:owner/bert'), folder);
    assert.match(lines.join('\n'), /cannot fetch hf:owner\/bert@main .*; going on with what "main" was last/);
    assert.match(await refusal('hf:owner/bert@v1.0', 'hub-unreachable'), /cannot fetch hf:owner\/bert@v1\.0 from http/);
    assert.match(await refusal('hf:owner/other', 'hub-unreachable'), /ECONNREFUSED/);
  });

  it('[HUB-6] touches no network where HF_HUB_OFFLINE forbids it', async () => {
    variables.HF_HUB_OFFLINE = '1';
    assert.match(
      await refusal('hf:owner/bert', 'not-in-cache'),
      /hf:owner\/bert@main is not in the cache, .*HF_HUB_OFFLINE/,
    );
    assert.match(await refusal(`hf:owner/bert@${commit}`, 'not-in-cache'), /not in the cache/);
    assert.deepEqual(hub.requests, []);
    delete variables.HF_HUB_OFFLINE;
    const folder = await resolve('hf:owner/bert');
    const before = hub.requests.length;
    variables.HF_HUB_OFFLINE = '1';
    assert.equal(await resolve('hf:owner/bert'), folder);
    assert.equal(hub.requests.length, before);
  });

  it('[HUB-7] goes on where a lost connection ended', async () => {
    const { length } = fixtureFiles('bert').get('model.safetensors')!;
    const rest = length - 5000;
    hub.cuts.push(1_000_000, 1_000_000, 1_000_000, 5000, 0, rest - 7);
    const folder = await resolve('hf:owner/bert');
    assert.equal((await describeBase(folder)).family, 'bert');
    const starts = downloads().filter((request) => /large.*model\.safetensors/.test(request));
    assert.ok(
      starts.some((request) => request.endsWith(` bytes=5000-${length - 1}`)),
      starts.join('\n'),
    );
    assert.ok(
      starts.some((request) => request.endsWith(` bytes=${length - 7}-${length - 1}`)),
      starts.join('\n'),
    );
    assert.deepEqual(waits, [0, 1000, 0]);
  });

  it('[HUB-8] gives up after three attempts without a byte, and goes on there in the next process', async () => {
    const { length } = fixtureFiles('bert').get('model.safetensors')!;
    hub.cuts.push(1_000_000, 1_000_000, 1_000_000, 6000, 0, 0, 0);
    const message = await refusal('hf:owner/bert', 'hub-unreachable');
    assert.match(
      message,
      new RegExp(`model\\.safetensors of .* broke off at byte 6000 of ${length}: .*goes on from there`),
    );
    const folder = join(cache, 'hub', new URL(hub.endpoint).host.replace(':', '_'), 'owner--bert', commit);
    assert.equal(statSync(join(folder, 'model.safetensors.part')).size, 6000);
    assert.equal(existsSync(join(folder, manifest)), false);
    const before = downloads().length;
    await resolve('hf:owner/bert');
    const later = downloads().slice(before);
    assert.ok(
      later.every((request) => request.includes('model.safetensors')),
      later.join('\n'),
    );
    assert.ok(
      later.some((request) => request.endsWith(` bytes=6000-${length - 1}`)),
      later.join('\n'),
    );
    assert.equal(existsSync(join(folder, 'model.safetensors.part')), false);
  });

  it('[HUB-9] refuses bytes that are not those of the hub, and forgets them', async () => {
    const wrong = (name: string) => (file: string, bytes: Uint8Array) =>
      file === name ? Uint8Array.from(bytes, (byte, index) => (index === 9 ? byte ^ 1 : byte)) : bytes;
    for (const name of ['config.json', 'model.safetensors']) {
      hub.corrupt = wrong(name);
      const message = await refusal('hf:owner/bert', 'hub-corrupt');
      assert.match(
        message,
        new RegExp(`^${name} of hf:owner/bert@${commit} arrived with the checksum [0-9a-f]+, the hub names`),
      );
    }
    hub.corrupt = (_, bytes) => bytes;
    const folder = await resolve('hf:owner/bert');
    assert.ok(readdirSync(folder).every((name) => !name.endsWith('.part')));
  });

  it('[HUB-10] notices what changed in the cache, and fetches that again', async () => {
    const folder = await resolve('hf:owner/bert');
    const path = join(folder, 'config.json');
    const right = readFileSync(path);
    writeFileSync(path, right.subarray(1));
    const before = downloads().length;
    assert.equal(await resolve('hf:owner/bert'), folder);
    assert.match(lines.join('\n'), /: config\.json changed since the download/);
    assert.ok(
      downloads()
        .slice(before)
        .every((request) => request.includes('config.json')),
    );
    assert.deepEqual(readFileSync(path), right);
    writeFileSync(
      path,
      Uint8Array.from(right, (byte, index) => (index === 0 ? byte ^ 1 : byte)),
    );
    variables.HF_HUB_OFFLINE = '1';
    assert.match(await refusal('hf:owner/bert', 'not-in-cache'), /changed since its download/);
  });

  it('[HUB-11] asks with the token, shows it to nobody, and says what to do when the hub refuses', async () => {
    hub.token = 'hf_secret';
    const closed = await refusal('hf:owner/bert', 'hub-refused');
    assert.match(
      closed,
      /refuses hf:owner\/bert@main \(401\): .*private, gated or not there; .*set HF_TOKEN to a token/,
    );
    variables.HF_TOKEN = 'hf_other';
    const other = await refusal('hf:owner/bert', 'hub-refused');
    assert.match(other, /HF_TOKEN does not open it/);
    variables.HF_TOKEN = 'hf_secret';
    await resolve('hf:owner/bert');
    assert.ok(hub.authorisations.has('Bearer hf_secret'));
    const said = [closed, other, ...lines, ...progress].join('\n');
    assert.doesNotMatch(said, /hf_(secret|other)/);
    const folder = join(cache, 'hub', new URL(hub.endpoint).host.replace(':', '_'), 'owner--bert', commit);
    assert.doesNotMatch(readFileSync(join(folder, manifest), 'utf8'), /hf_/);
  });

  it('[HUB-12] sends a token neither to where it could be read on the way nor when it is none', async () => {
    variables.HF_TOKEN = 'hf_secret';
    variables.HF_ENDPOINT = 'http://hub.example';
    assert.match(await refusal('hf:owner/bert', 'bad-endpoint'), /HF_TOKEN would go to hub\.example unencrypted/);
    for (const wrong of ['hub.example', 'file:///hub', 'https://user:secret@hub.example']) {
      variables.HF_ENDPOINT = wrong;
      assert.doesNotMatch(await refusal('hf:owner/bert', 'bad-endpoint'), /secret/);
    }
    variables.HF_ENDPOINT = hub.endpoint;
    variables.HF_TOKEN = 'secret';
    assert.doesNotMatch(await refusal('hf:owner/bert', 'bad-token'), /secret/);
  });

  it('[HUB-13] says what is not there', async () => {
    assert.match(
      await refusal('hf:owner/none', 'hub-not-found'),
      /has no hf:owner\/none@main: check owner, name and revision/,
    );
    assert.match(await refusal('hf:owner/bert@v2', 'hub-not-found'), /has no hf:owner\/bert@v2/);
    hub.failure = 503;
    assert.match(
      await refusal('hf:owner/bert', 'hub-unreachable'),
      /answers 503 for hf:owner\/bert@\w+; try again later/,
    );
  });

  it('[HUB-14] refuses repositories without safetensors weights before a byte of them is fetched', async () => {
    const { files } = repositoryOf(fixtureFiles('bert'));
    const pickled = new Map([...files].filter(([name]) => !name.includes('safetensors')));
    hub.repositories.set('owner/pickled', { ...repositoryOf(new Map()), files: pickled });
    assert.match(
      await refusal('hf:owner/pickled', 'unsafe-file'),
      /hf:owner\/pickled@\w+ has no safetensors weights; pytorch_model\.bin is a pickle of Python/,
    );
    hub.repositories.set('owner/empty', { ...repositoryOf(new Map()), files: new Map() });
    assert.match(await refusal('hf:owner/empty', 'missing-file'), /expected config\.json, found no file/);
    assert.deepEqual(downloads(), []);
    const unchecked = { ...repositoryOf(fixtureFiles('bert')), withoutChecksums: true };
    hub.repositories.set('owner/unchecked', unchecked);
    assert.match(await refusal('hf:owner/unchecked', 'hub-answer'), /gives no checksum for config\.json/);
  });

  it('[HUB-15] writes nowhere but into its folder, whatever a repository lists', async () => {
    const index = { weight_map: { a: '../../../escaped.safetensors' } };
    const files = new Map([
      ['config.json', utf8('{}')],
      ['model.safetensors.index.json', utf8(JSON.stringify(index))],
    ]);
    const listedOnly = ['../../../escaped.safetensors', '/etc/passwd', 'config.json/../../x'];
    hub.repositories.set('owner/evil', { commit, revisions: ['main'], files, listedOnly });
    assert.match(await refusal('hf:owner/evil', 'bad-index'), /expected the plain name of a \.safetensors file/);
    assert.ok(downloads().every((request) => !request.includes('escaped') && !request.includes('passwd')));
    hub.repositories.set('owner/bad', { commit: '../../../..', revisions: ['main'], files });
    assert.match(
      await refusal('hf:owner/bad', 'hub-answer'),
      /expected the commit of main, found "\.\.\/\.\.\/\.\.\/\.\."/,
    );
    assert.deepEqual(readdirSync(cache), ['hub']);
  });

  it('[HUB-16] takes no other references', async () => {
    for (const wrong of [
      'hf:',
      'hf:../owner',
      'hf:owner/..',
      'hf:owner/a/b',
      'hf:owner/name@',
      'hf:owner/name@../../x',
      'hf:owner/name@a@b',
      'hf:owner/na me',
      'hf:owner/name?x',
      'hf:/name',
      `hf:owner/${'n'.repeat(97)}`,
    ])
      assert.match(await refusal(wrong, 'bad-base'), /expected a base on the hub as hf:owner\/name/);
    assert.deepEqual(hub.requests, []);
  });

  it('[HUB-17] keeps a second download off, and stops when it is told to', async () => {
    const folder = join(cache, 'hub', new URL(hub.endpoint).host.replace(':', '_'), 'owner--bert');
    const release = lockFolder(folder, 'download');
    assert.match(await refusal('hf:owner/bert', 'state-in-use'), /another download runs on .*; wait for it/);
    release();
    const controller = new AbortController();
    controller.abort(new Error('interrupted'));
    await assert.rejects(resolve('hf:owner/bert', controller.signal), /interrupted/);
    assert.match(await resolve('hf:owner/bert'), /owner--bert/);
  });

  it('[HUB-19] keeps what came before it was interrupted', async () => {
    const controller = new AbortController();
    const { length } = fixtureFiles('bert').get('model.safetensors')!;
    onUpdate = (done) => {
      // Behind the small files, in the middle of the weights.
      if (done > 10_000) controller.abort(new Error('interrupted'));
    };
    await assert.rejects(resolve('hf:owner/bert', controller.signal), /interrupted/);
    onUpdate = () => undefined;
    const folder = join(cache, 'hub', new URL(hub.endpoint).host.replace(':', '_'), 'owner--bert', commit);
    const { size } = statSync(join(folder, 'model.safetensors.part'));
    assert.ok(size > 0 && size < length, `${size} of ${length}`);
    await resolve('hf:owner/bert');
    assert.ok(downloads().some((request) => request.endsWith(` bytes=${size}-${length - 1}`)));
  });

  it('[HUB-18] names the line that installs the client where it is not installed', async () => {
    const access = { endpoint: hub.endpoint, token: undefined };
    const load = () => Promise.reject(new Error("Cannot find package '@huggingface/hub'"));
    await assert.rejects(openHub(access, new AbortController().signal, load), (thrown) => {
      assert.ok(thrown instanceof FederationError && thrown.code === 'hub-client-missing');
      assert.match(thrown.message, /install it with: npm install @huggingface\/hub@2\.17\.5$/);
      const { peerDependencies } = JSON.parse(
        readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'),
      ) as { peerDependencies: Record<string, string> };
      return thrown.message.endsWith(`@huggingface/hub@${peerDependencies['@huggingface/hub']}`);
    });
  });
});
