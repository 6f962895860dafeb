/** What every log of the coordinator must do; each store runs this suite on its own. */
import { strict as assert } from 'node:assert';
import { entryOf, type LogStore, payloadOf } from '../../coordinator/audit/log-store.ts';
import type { CoordinatorStore } from '../../coordinator/store/store.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { digestOf } from '../../shared/crypto/hash.ts';

const happening = (subject: string, value = 1) => ({ type: 'round-opened' as const, subject, payload: { value } });

/** Registers the suite; `open` as in the contract of stores. */
export function logContract(
  name: string,
  { open, durable }: { readonly open: (place: number) => CoordinatorStore; readonly durable: boolean },
): void {
  describe(`log contract: ${name}`, () => {
    let store: CoordinatorStore;
    let log: LogStore;
    let place = 1000;
    beforeEach(() => {
      store = open(++place);
      log = store.log;
    });
    afterEach(() => store.close());

    it('[LOG-1] numbers entries from 0 in the order in which they come, each bound to the one before', async () => {
      await log.append([happening('0'), happening('1')], 5);
      await log.append([happening('2')], 4);
      const rows = await log.rows(0);
      assert.deepEqual(
        rows.map((row) => [row.sequence, entryOf(row).subject, entryOf(row).timeMs]),
        [
          [0, '0', 5],
          [1, '1', 5],
          [2, '2', 4],
        ],
      );
      assert.equal(entryOf(rows[0]!).previous, '00'.repeat(32));
      assert.equal(entryOf(rows[2]!).previous, digestOf(fromHex(rows[1]!.entry)));
      assert.deepEqual(await log.rows(2), rows.slice(2));
    });

    it('[LOG-2] takes a type and a subject once; what came first stays', async () => {
      await log.append([happening('0'), happening('0', 2)], 1);
      await log.append([happening('0', 3), { ...happening('0', 4), type: 'round-void' }], 2);
      assert.deepEqual((await log.rows(0)).map(payloadOf), [{ value: 1 }, { value: 4 }]);
      assert.equal((await log.find('round-void', '0'))?.sequence, 1);
      assert.equal(await log.find('round-void', '1'), null);
    });

    it('[LOG-3] appends of the same moment get places of their own', async () => {
      await Promise.all([log.append([happening('0')], 1), log.append([happening('1')], 1), log.append([], 1)]);
      assert.deepEqual(
        (await log.rows(0)).map(({ sequence }) => sequence),
        [0, 1],
      );
    });

    it('[LOG-4] keeps checkpoints and transcripts', async () => {
      const checkpoint = { size: 1, checkpoint: 'aa', signature: 'bb' };
      await log.addCheckpoint(checkpoint);
      await log.addCheckpoint({ ...checkpoint, size: 2 });
      assert.deepEqual(
        (await log.checkpoints()).map(({ size }) => size),
        [1, 2],
      );
      assert.equal(await log.transcript(3), null);
      const delta = 'cd'.repeat(32) as never;
      const clientId = 'ef'.repeat(32) as never;
      const update = { roundIndex: 3, clientId, bodyHash: delta, delta, exampleCount: 1, receipt: delta };
      const transcript = { roundIndex: 3, updates: [update], evidence: [], roundParams: null, messages: ['m'] };
      await log.keepTranscript(transcript);
      assert.deepEqual(await log.transcript(3), transcript);
      assert.deepEqual(await log.retained(), [{ roundIndex: 3, clientId, delta, isMasked: false }]);
      await log.keepTranscript({ ...transcript, roundParams: 'aa' });
      assert.deepEqual(await log.retained(), [{ roundIndex: 3, clientId, delta, isMasked: true }]);
    });

    it('[LOG-6] keeps the document that came last under a name', async () => {
      assert.equal(await store.documents.get('consortium'), null);
      await store.documents.put('consortium', 'aa');
      await store.documents.put('consortium', 'bb');
      assert.equal(await store.documents.get('consortium'), 'bb');
      assert.equal(await store.documents.get('revocations'), null);
    });

    if (!durable) return;
    it('[LOG-5] is there after a stop, and two processes append to one log', async () => {
      await log.append([happening('0')], 1);
      const other = open(place);
      await other.log.append([happening('1')], 1);
      await log.append([happening('2')], 1);
      await other.close();
      await store.close();
      store = open(place);
      assert.deepEqual(
        (await store.log.rows(0)).map((row) => entryOf(row).subject),
        ['0', '1', '2'],
      );
    });
  });
}
