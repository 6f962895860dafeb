/** What a coordinator holds of a round that was never opened, and boxes that reach others than they are for. */
import { strict as assert } from 'node:assert';
import { bytesOf } from '../../../shared/core/bytes.ts';
import { decodeCanonical } from '../../../shared/protocol/canonical.ts';
import type { ClientEvent } from '../../../shared/secure-aggregation/client-state.ts';
import { unmaskFormat } from '../../../shared/secure-aggregation/messages.ts';
import { plainVector, runCohort, type Stage } from './cohort.ts';

/** Pearson's statistic of bytes against equal frequency: 255 degrees of freedom, so about 255 with a deviation of 23. */
function unevenness(bytes: Uint8Array): number {
  const counts = Array.from({ length: 256 }, () => 0);
  for (const byte of bytes) counts[byte]! += 1;
  const expected = bytes.length / 256;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

describe('a round that is not opened', () => {
  it('[below-threshold-aborts] one answer less than the threshold: nothing is opened, and what is stored looks like noise', () => {
    // Seven clients need five answers.
    const [dim, clientCount, threshold] = [2_000, 7, 5];
    const without = (answers: number): Map<number, Stage> =>
      new Map(Array.from({ length: clientCount - answers }, (_, index) => [index, 'UNMASK'] as const));
    assert.notEqual(runCohort({ clientCount, dim, vanishing: without(threshold) }).sum, null);
    const { server, sum, masked } = runCohort({ clientCount, dim, vanishing: without(threshold - 1) });
    assert.equal(server.phase.name, 'aborted');
    assert.equal(sum, null);
    // The state itself holds no vector and no share; what was uploaded beside it is noise to whoever looks.
    const kept = JSON.stringify(server, (_, value: unknown) => (value instanceof Map ? [...value] : value));
    assert.doesNotMatch(kept, /"share"|"coordinates"|"secret"/);
    for (let index = 0; index < clientCount; index++) {
      const plain = bytesOf(plainVector(index, dim).coordinates as Uint32Array);
      const stored = bytesOf(masked.get(index)!.coordinates as Uint32Array);
      assert.ok(unevenness(plain) > 10_000, 'the statistic tells a plain vector');
      assert.ok(unevenness(stored) < 255 + 5 * 23, `client ${index}: ${unevenness(stored)}`);
    }
  });
});

describe('boxes that go astray', () => {
  type Delivery = Extract<ClientEvent, { readonly type: 'delivery' }>;
  const clientCount = 4;

  /** Shares of others that client 0 gives after its boxes were changed. */
  const given = (change: (own: Delivery, other: Delivery) => Delivery): number => {
    let kept: Delivery | null = null;
    // A first run shows what another client is sent: the same seed gives the same boxes.
    const noted: ClientEvent[] = [];
    runCohort({
      clientCount,
      bend: (event, index) => {
        if (event.type === 'delivery' && index === 1) noted.push(event);
        return event;
      },
    });
    const outcome = runCohort({
      clientCount,
      bend: (event, index) => {
        if (event.type !== 'delivery' || index !== 0) return event;
        kept = event;
        return change(event, noted[0] as Delivery);
      },
    });
    assert.notEqual(kept, null);
    const order = outcome.clients.map(({ identity }) => identity.clientId).sort();
    const place = order.indexOf(outcome.clients[0]!.identity.clientId);
    return outcome.sent.reduce((count, event) => {
      const body = event.type === 'unmask' ? decodeCanonical(unmaskFormat, event.body, 'M5') : null;
      if (!body?.ok || body.value.place !== place) return count;
      return body.value.shares.filter(({ dealer, share }) => dealer !== place && share !== null).length;
    }, 0);
  };
  const withBoxes = ({ delivery }: Delivery, boxes: Delivery['delivery']['boxes']): Delivery => ({
    type: 'delivery',
    delivery: { ...delivery, boxes },
  });

  it('[share-misrouting] what was dealt to another holder opens for nobody else', () => {
    assert.equal(
      given((own) => own),
      clientCount - 1,
    );
    // The dealers that both have boxes of: client 0 hears what they dealt to client 1.
    const misrouted = given((own, other) =>
      withBoxes(
        own,
        own.delivery.boxes.map((box) => other.delivery.boxes.find(({ dealer }) => dealer === box.dealer) ?? box),
      ),
    );
    assert.equal(misrouted, 1, 'only the box of client 1 itself is the true one');
  });

  it('[share-misrouting] a box that is cut, or one bit of which is another, gives no share', () => {
    const changes: readonly ((box: Uint8Array) => Uint8Array)[] = [
      (box) => box.subarray(0, -1),
      (box) => box.subarray(1),
      () => new Uint8Array(0),
      ...[0, 15, 16, 79].map(
        (place) => (box: Uint8Array) => box.map((byte, at) => (at === place ? byte ^ 0x80 : byte)),
      ),
    ];
    for (const change of changes) {
      const shares = given((own) =>
        withBoxes(
          own,
          own.delivery.boxes.map((one) => ({ ...one, box: change(one.box) })),
        ),
      );
      assert.equal(shares, 0);
    }
  });
});
