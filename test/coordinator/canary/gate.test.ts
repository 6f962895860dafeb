import { strict as assert } from 'node:assert';
import { createGate, refusalOf } from '../../../coordinator/canary/gate.ts';
import type { OperatorModel } from '../../../coordinator/canary/operator.ts';
import type { VersionRow } from '../../../coordinator/store/store.ts';
import { bytesOf, float32Of, fromHex } from '../../../shared/core/bytes.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import type { Digest, FederationId } from '../../../shared/core/ids.ts';
import { engineCrypto } from '../../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import type { Canary } from '../../../shared/plan/canary.ts';
import { openCanaryRecord } from '../../../shared/protocol/canary-record.ts';
import type { Metrics } from '../../../shared/training/metrics.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

const identity = identityFromSeed(seededEntropy(81).bytes(32), engineCrypto);
const digest = (digit: string): Digest => digit.repeat(64) as Digest;
const canary: Canary = { by: 'operator', metric: 'accuracy', drop: 0.05, failuresMax: 3 };
const versions = [{ modelHash: digest('a') } as VersionRow];
const adapterOf = (accuracy: number): Uint8Array => bytesOf(Float32Array.of(accuracy));

/** An operator to whom the first value of an adapter is its accuracy; counts what it measured. */
function operatorOf() {
  const measured: number[] = [];
  const operator: OperatorModel = {
    measure: async (adapter) => {
      const [accuracy = 0] = adapter;
      if (accuracy > 1) throw new FederationError('not-finite', 'the loss is no number');
      measured.push(Math.round(100 * accuracy));
      return { accuracy } as Metrics;
    },
    rootUpdate: () => assert.fail('no root is asked for'),
    dispose: () => undefined,
  };
  return { operator, measured };
}

describe('gate of the operator', () => {
  const judgedOf = (accuracy: number, modelHash: Digest) => ({
    ...{ adapterBytes: adapterOf(accuracy), modelHash, metrics: null, versions },
    latestBytes: adapterOf(0.9),
  });

  it('[CGT-1] measures the version in effect once, whatever becomes of its candidates', async () => {
    const { operator, measured } = operatorOf();
    const gate = createGate(canary, { coordinatorKey: identity.publicKey, operator });
    assert.ok(gate !== null);
    assert.match((await gate.judge(judgedOf(0.5, digest('b')))).reason ?? '', /50\.0 %/);
    assert.match((await gate.judge(judgedOf(0.6, digest('c')))).reason ?? '', /60\.0 %/);
    assert.equal((await gate.judge(judgedOf(0.88, digest('d')))).reason, null);
    assert.deepEqual(measured, [90, 50, 60, 88]);
  });

  it('[CGT-2] a candidate that cannot be measured is refused, and ends nothing else', async () => {
    const { operator } = operatorOf();
    const gate = createGate(canary, { coordinatorKey: identity.publicKey, operator });
    const verdict = await gate!.judge(judgedOf(2, digest('e')));
    assert.match(verdict.reason ?? '', /nobody could measure/);
    assert.equal(verdict.candidate, null);
  });

  it('[CGT-3] the entry of a refused candidate holds a record that only the coordinator can have signed', () => {
    const record = {
      federationId: 'f'.repeat(64) as FederationId,
      ...{ roundIndex: 3, roundHash: digest('1'), planHash: digest('2'), modelHash: digest('3') },
      ...{ parentModelHash: digest('4'), metric: 'accuracy', candidate: 0.5, before: 0.9, drop: 0.05, least: null },
      ...{ reason: 'worse', createdAtMs: 1 },
    };
    const { payload, subject } = refusalOf(identity, record);
    assert.equal(subject, `3/${digest('3')}`);
    const signed = { record: fromHex(String(payload.record)), signature: fromHex(String(payload.signature)) };
    const opened = openCanaryRecord(identity.publicKey, signed);
    assert.deepEqual(opened, { ok: true, value: record });
    const stranger = identityFromSeed(seededEntropy(82).bytes(32), engineCrypto);
    assert.equal(openCanaryRecord(stranger.publicKey, signed).ok, false);
    assert.equal(float32Of(adapterOf(0.5))[0], 0.5);
  });

  it('[CGT-4] without canary.by there is no gate', () => {
    assert.equal(createGate({ ...canary, by: 'none' }, { coordinatorKey: identity.publicKey, operator: null }), null);
  });
});
