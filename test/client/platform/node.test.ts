import { strict as assert } from 'node:assert';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import type { JournalEntry } from '../../../client/platform/ports.ts';
import { emptyJournal } from '../../../client/platform/ports.ts';
import { openLedger } from '../../../client/session/ledger.ts';
import { InvariantError } from '../../../shared/core/assert.ts';
import { StoreError, TransportError } from '../../../shared/core/errors.ts';
import { parseDigest, parseFederationId, parseSessionId } from '../../../shared/core/ids.ts';

const federationId = parseFederationId('f'.repeat(64));
const roundHash = parseDigest('1'.repeat(64));

describe('client state on Node', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-client-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('[CLI-11] makes its own key once, readable by its owner only', async () => {
    const first = await (await nodePlatform(folder)).identitySeed();
    const again = await (await nodePlatform(folder)).identitySeed();
    assert.equal(first.length, 32);
    assert.deepEqual(again, first);
    assert.equal((await stat(join(folder, 'identity.key'))).mode & 0o777, 0o600);
  });

  it('[CLI-12] never repeats a sequence number, also after a crash', async () => {
    const seen = new Set<bigint>();
    let last = 0n;
    for (let start = 0; start < 3; start++) {
      const ledger = await openLedger((await nodePlatform(folder)).journal);
      for (let index = 0; index < 5; index++) {
        const sequence = await ledger.nextSequence();
        assert(sequence > last && !seen.has(sequence));
        seen.add(sequence);
        last = sequence;
      }
    }
  });

  it('[CLI-13] gives distinct sequence numbers to calls at the same time, each durable before it is used', async () => {
    const { journal } = await nodePlatform(folder);
    const ledger = await openLedger(journal);
    const sequences = await Promise.all(Array.from({ length: 20 }, () => ledger.nextSequence()));
    assert.equal(new Set(sequences).size, 20);
    assert(BigInt((await journal.read()).sequenceBound) >= 20n);
  });

  it('[CLI-14] remembers a contribution and refuses a second one for the same round', async () => {
    const ledger = await openLedger((await nodePlatform(folder)).journal);
    assert.equal(ledger.lastContribution(federationId), null);
    const contribution = { roundIndex: 4, roundHash, sessionId: parseSessionId('5'.repeat(32)) };
    await ledger.recordContribution(federationId, contribution);
    const again = await openLedger((await nodePlatform(folder)).journal);
    assert.deepEqual(again.lastContribution(federationId), contribution);
    assert.throws(() => again.recordContribution(federationId, contribution), InvariantError);
  });

  it('[CLI-15] refuses a damaged journal instead of starting anew', async () => {
    await writeFile(join(folder, 'journal.json'), '{"format":"tributary-client-journal-1"');
    const { journal } = await nodePlatform(folder);
    await assert.rejects(
      journal.read(),
      (thrown: unknown) => thrown instanceof StoreError && thrown.code === 'journal-damaged',
    );
  });

  it('[CLI-123] torn-write: a journal that reached the disk in part is refused wherever it was cut; a write that never ended leaves the one before', async () => {
    const { journal } = await nodePlatform(folder);
    const ledger = await openLedger(journal);
    const contribution = { roundIndex: 4, roundHash, sessionId: parseSessionId('5'.repeat(32)) };
    await ledger.recordContribution(federationId, contribution);
    const path = join(folder, 'journal.json');
    const whole = await readFile(path);
    const before = await journal.read();
    // What a process that was killed while it wrote leaves beside it.
    await writeFile(`${path}.${process.pid + 1}.tmp`, whole.subarray(0, 20));
    assert.deepEqual(await journal.read(), before);
    // The last byte ends a line.
    for (let size = 0; size < whole.length - 1; size++) {
      await writeFile(path, whole.subarray(0, size));
      await assert.rejects(journal.read(), { code: 'journal-damaged' }, `cut after ${size} bytes`);
      await assert.rejects(openLedger(journal), { code: 'journal-damaged' });
    }
    await writeFile(path, whole);
    assert.deepEqual((await openLedger(journal)).lastContribution(federationId), contribution);
  });

  it('[CLI-132] a key whose journal is gone is used no more: nobody knows to which rounds it contributed', async () => {
    const first = await nodePlatform(folder);
    assert.deepEqual(await first.journal.read(), emptyJournal);
    await first.identitySeed();
    assert.deepEqual(await first.journal.read(), emptyJournal, 'the journal is there before the key is');
    await rm(join(folder, 'journal.json'));
    const { journal } = await nodePlatform(folder);
    await assert.rejects(journal.read(), {
      code: 'journal-damaged',
      message: /it is missing, and the key is there.*enrol again/s,
    });
  });

  it('[CLI-16] leaves no temporary file behind and keeps content by digest', async () => {
    const { cache, journal, personal } = await nodePlatform(folder);
    const ledger = await openLedger(journal);
    await ledger.nextSequence();
    assert.equal(await personal.read('aa-bb'), null);
    await personal.write('aa-bb', new Uint8Array([4, 5]));
    await personal.write('aa-bb', new Uint8Array([6]));
    assert.deepEqual(await personal.read('aa-bb'), new Uint8Array([6]));
    assert.deepEqual(await readdir(join(folder, 'personal')), ['aa-bb']);
    assert.equal(await cache.get(roundHash), null);
    await cache.put(roundHash, new Uint8Array([1, 2, 3]));
    assert.deepEqual(await cache.get(roundHash), new Uint8Array([1, 2, 3]));
    assert.deepEqual((await readdir(folder)).sort(), ['content', 'evidence', 'journal.json', 'personal']);
    assert.deepEqual(await readdir(join(folder, 'content')), [roundHash]);
    assert.match(await readFile(join(folder, 'journal.json'), 'utf8'), /tributary-client-journal-1/);
  });

  it('[CLI-17] names the address when nobody answers', async () => {
    const platform = await nodePlatform(folder);
    await assert.rejects(platform.requestJson('http://127.0.0.1:1/v1/health', 2000), (thrown: unknown) => {
      return thrown instanceof TransportError && thrown.message.includes('127.0.0.1:1');
    });
  });

  it('[CLI-133] gives up an answer over HTTP that goes on and on', async () => {
    const part = `"${'x'.repeat(65_534)}"`;
    let sent = 0;
    const server = createServer((request, response) => {
      if (request.url === '/short') return void response.end('{"status":"fine"}');
      // Endless, as far as the client can know.
      const more = (): void => {
        if (sent++ < 1000 && !response.destroyed) response.write(part, more);
      };
      more();
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    try {
      const platform = await nodePlatform(folder);
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      assert.deepEqual(await platform.requestJson(`${url}/short`, 5000), { status: 200, body: { status: 'fine' } });
      await assert.rejects(platform.requestJson(`${url}/long`, 5000), /the answer has more than 4194304 bytes/);
      assert.ok(sent < 200, `${sent} parts were sent`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('[CLI-23] belongs to one running client at a time', async () => {
    const release = await (await nodePlatform(folder)).claim();
    const second = await nodePlatform(folder);
    await assert.rejects(second.claim(), { code: 'state-in-use' });
    release();
    (await second.claim())();
  });

  it('[CLI-24] disk-full: gives out nothing any more after a write failed', async () => {
    const writes: JournalEntry[] = [];
    const ledger = await openLedger({
      read: async () => emptyJournal,
      write: async (entry) => {
        writes.push(entry);
        throw new StoreError('journal-not-written', 'the disk is full');
      },
    });
    const both = await Promise.allSettled([ledger.nextSequence(), ledger.nextSequence()]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    await assert.rejects(ledger.nextSequence(), StoreError);
    assert.equal(writes.length, 1);
  });
});
