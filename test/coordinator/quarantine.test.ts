import { strict as assert } from 'node:assert';
import { longUpdates } from '../../coordinator/aggregation/long-updates.ts';
import { createMemoryDocuments } from '../../coordinator/enrolment/document-store.ts';
import { fileOf, openQuarantine, releaseClient } from '../../coordinator/enrolment/quarantine.ts';
import type { ChunkReader } from '../../coordinator/store/blobs.ts';
import type { ClientRecord, UpdateRecord } from '../../coordinator/store/store.ts';
import type { Happening } from '../../shared/audit/entry.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import { type ClientId, type Digest, parseClientId, parseDigest } from '../../shared/core/ids.ts';

const id = (index: number): ClientId => parseClientId(index.toString(16).padStart(64, '0'));
const rule = { marks: 2, rounds: 3 };

async function open(options: { readonly marks: number; readonly rounds: number } = rule) {
  const notes: Happening[] = [];
  const clients = [1, 2].map((index) => ({ clientId: id(index), name: `site-${index}` }) as ClientRecord);
  const store = { documents: createMemoryDocuments(), clients: async () => clients };
  const note = async (happening: Happening): Promise<void> => void notes.push(happening);
  const reopen = () => openQuarantine({ store, rule: options, note });
  return { store, notes, note, reopen, book: await reopen() };
}

describe('quarantine', () => {
  it('[QUA-1] sets a client aside by name after so many marked rounds, once, in the log and after a restart', async () => {
    const { book, notes, reopen } = await open();
    book.mark(id(1), 'non-finite');
    book.mark(id(1), 'bad-weight');
    assert.deepEqual(await book.settle(0), [], 'two refusals in one round are one mark');
    book.mark(id(1), 'wrong-length');
    const [out] = await book.settle(1);
    assert.equal(out?.name, 'site-1');
    assert.deepEqual(out?.marks, [
      { roundIndex: 0, reason: 'non-finite' },
      { roundIndex: 1, reason: 'wrong-length' },
    ]);
    assert.ok(book.has(id(1)) && !book.has(id(2)));
    assert.deepEqual(
      notes.map(({ type, subject }) => [type, subject]),
      [['client-quarantined', `${id(1)}/1`]],
    );
    book.mark(id(1), 'non-finite');
    assert.deepEqual(await book.settle(2), [], 'nobody is set aside twice');
    assert.ok((await reopen()).has(id(1)));
  });

  it('[QUA-2] forgets marks of rounds that are long over', async () => {
    const { book } = await open();
    for (const roundIndex of [0, 3, 6]) {
      book.mark(id(1), 'non-finite');
      assert.deepEqual(await book.settle(roundIndex), []);
    }
    await book.eject(id(1), 7);
    assert.equal((await book.settle(7)).length, 1);
  });

  it('[QUA-3] marks nobody for what happens to honest clients, and nobody at all with 0 marks', async () => {
    const { book } = await open({ marks: 1, rounds: 3 });
    for (const code of [
      'stale-round',
      'late-update',
      'stale-time',
      'not-in-cohort',
      'missing-chunks',
      'rate-limited',
    ] as const)
      book.mark(id(1), code);
    assert.deepEqual(await book.settle(0), []);
    const never = await open({ marks: 0, rounds: 3 });
    never.book.mark(id(1), 'non-finite');
    assert.deepEqual(await never.book.settle(0), []);
  });

  it('[QUA-4] a released client has no marks, and a running book sees it', async () => {
    const { book, store, note, notes } = await open({ marks: 1, rounds: 3 });
    book.mark(id(2), 'bad-dealer');
    await book.settle(4);
    assert.deepEqual(await book.refresh(), []);
    assert.equal(await releaseClient(store, id(2), note), true);
    assert.equal(await releaseClient(store, id(2), note), false);
    assert.deepEqual(await book.refresh(), [id(2)]);
    assert.ok(!book.has(id(2)));
    assert.deepEqual(await fileOf(store, id(2)), { marks: [], sinceRound: null, ejectedIn: null, releasedFrom: 4 });
    assert.deepEqual(
      notes.map(({ type }) => type),
      ['client-quarantined', 'client-released'],
    );
  });

  it('[QUA-6] an ejection is durable whatever the plan says about marks; a release ends it, and a running book sees that', async () => {
    const { book, store, note, reopen } = await open({ marks: 0, rounds: 3 });
    book.mark(id(1), 'bad-shares');
    await book.eject(id(1), 4);
    // Whoever is killed before the round ends knows it, too.
    assert.deepEqual((await reopen()).barred, { [id(1)]: 8 });
    assert.deepEqual(await book.settle(4), []);
    const again = await reopen();
    assert.deepEqual([again.has(id(1)), again.barred], [false, { [id(1)]: 8 }]);
    assert.deepEqual(await again.refresh(), []);
    assert.equal(await releaseClient(store, id(1), note), true);
    assert.deepEqual([await again.refresh(), await book.refresh()], [[id(1)], [id(1)]]);
    assert.deepEqual((await reopen()).barred, {});
  });

  it('[QUA-5] finds updates that are much longer than the others', async () => {
    const contents = new Map<Digest, Uint8Array>();
    const blobs = { scan: async (digest: Digest, take: ChunkReader) => take(contents.get(digest)!, 0) };
    const updates = [1, 1.5, 2, 100].map((length, index) => {
      const delta = parseDigest(index.toString(16).padStart(64, '0'));
      contents.set(delta, bytesOf(Float32Array.of(length, 0)));
      return { clientId: id(index + 1), delta } as UpdateRecord;
    });
    assert.deepEqual(await longUpdates(updates, 10, blobs), [id(4)]);
    assert.deepEqual(await longUpdates(updates, 100, blobs), []);
    assert.deepEqual(await longUpdates(updates.slice(2), 10, blobs), [], 'two updates have no median worth the name');
  });
});
