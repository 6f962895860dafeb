/** Model cards: what they tell, and that they tell the same of the same adapter. */
import { strict as assert } from 'node:assert';
import { type CardFacts, modelCard } from '../../../../shared/adapters/formats/model-card.ts';
import { parseClientId, parseDigest, parseFederationId } from '../../../../shared/core/ids.ts';
import { protocolVersion } from '../../../../shared/protocol/version.ts';
import type { VersionRecord } from '../../../../shared/protocol/version-record.ts';
import { layoutOf } from '../../../../shared/update/layout.ts';

const digest = (digit: string) => parseDigest(digit.repeat(64));
const client = (digit: string) => parseClientId(digit.repeat(64));
const metrics = {
  exampleCount: 40,
  accuracy: 0.5,
  macroF1: 0.4,
  microF1: null,
  entityF1: null,
  auroc: null,
  perplexity: null,
  loss: 1.25,
  calibrationError: 0.1,
  brier: 0.6,
};
const record = (versionIndex: number, changes: Partial<VersionRecord> = {}): VersionRecord => ({
  protocol: protocolVersion,
  federationId: parseFederationId('fe'.repeat(32)),
  versionIndex,
  round:
    versionIndex === 0 ? null : { roundIndex: versionIndex - 1, roundHash: digest('1'), transcriptHash: digest('2') },
  modelHash: digest('3'),
  parentModelHash: versionIndex === 0 ? null : digest('4'),
  baseDigest: digest('b'),
  planHash: digest('5'),
  layoutHash: digest('6'),
  adapterDigest: digest('7'),
  aggregationRule: 'fedavg',
  contributors: versionIndex === 0 ? [] : [client('8'), client('9')],
  cohort: versionIndex === 0 ? [] : [client('8'), client('9'), client('a')],
  survivorCount: 2,
  rejections: [],
  totalWeight: versionIndex === 0 ? 0 : 120,
  metrics: versionIndex === 0 ? null : metrics,
  measures: [],
  privacy: 'none: the coordinator could read every update; published versions carry no differential privacy',
  createdAtMs: 1,
  ...changes,
});

const facts: CardFacts = {
  manifest: {
    base: { digest: digest('b'), family: 'bert' },
    adapter: { method: 'lora', rank: 8 },
    task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 64 },
    modelHash: digest('3'),
    layout: layoutOf([{ name: 'a', shape: [4, 2], aggregationClass: 'mean', decays: true }]),
    heldOut: null,
  },
  format: 'peft',
  baseName: 'owner/base',
  baseLicense: 'apache-2.0',
  records: [record(0), record(1), record(2, { metrics: { ...metrics, accuracy: 0.75 } })],
  signer: 'AAAA-BBBB',
  plan: {
    name: 'Two *wards*',
    planHash: digest('5'),
    clientsPerRound: 'all',
    quorum: 2,
    roundCount: 2,
    aggregationRule: 'fedavg',
    isMasked: false,
  },
  className: 'BertForSequenceClassification',
  adapterName: 'tributary',
  isHeadless: false,
  remarks: [],
};

describe('model card', () => {
  it('[CARD-1] begins with what the Hub reads', () => {
    const card = modelCard(facts);
    const expected = [
      '---',
      'library_name: peft',
      'base_model: owner/base',
      'base_model_relation: adapter',
      'license: apache-2.0',
      'pipeline_tag: text-classification',
      'tags:',
      '- federated-learning',
      '- tributary',
      '- lora',
      'metrics:',
      '- accuracy',
      '- f1',
      '---',
      '',
    ].join('\n');
    assert.ok(card.startsWith(expected), card);
  });

  it('[CARD-2] tells base, plan, rounds, cohorts, privacy and evaluation by round, in the words of the records', () => {
    const card = modelCard(facts);
    for (const line of [
      '# Two \\*wards\\*',
      'Labels, in the order of the outputs: no, yes.',
      `- digest of weights, configuration and tokenizer: \`${digest('b')}\``,
      '- licence: apache-2.0; it holds for what is made from the base, too, as far as it says so',
      `- plan: Two \\*wards\\*, \`${digest('5')}\`: 2 rounds, clients asked per round all, quorum 2`,
      'after round 1: 2 of 3 clients, total weight 120',
      '- aggregation: `fedavg`, not masked',
      '- signed by the coordinator with the key `AAAA-BBBB`',
      '| 0 | 3 | 2 | 120 |',
      '| 1 | 3 | 2 | 120 |',
      'Privacy spent: none: no differential privacy was used (the coordinator could read every update; published versions carry no differential privacy).',
      '| 0 | 40 | 50.0 % | 40.0 % | 1.250 | 0.100 | 0.600 |',
      '| 1 | 40 | 75.0 % | 40.0 % | 1.250 | 0.100 | 0.600 |',
      'model = PeftModel.from_pretrained(BertForSequenceClassification.from_pretrained("owner/base", num_labels=2), "DIR")',
    ])
      assert.ok(card.includes(line), `${line}\n--- not in\n${card}`);
  });

  it('[CARD-3] names no client, and is the same for the same adapter', () => {
    const card = modelCard(facts);
    for (const id of [client('8'), client('9'), client('a')]) assert.ok(!card.includes(id.slice(0, 8)));
    assert.equal(modelCard(structuredClone(facts)), card);
  });

  it('[CARD-4] says what it does not know', () => {
    const card = modelCard({ ...facts, records: [], plan: null, signer: null, baseName: '', baseLicense: null });
    assert.match(card, /^---\nlibrary_name: peft\nlicense: unknown\n/);
    assert.ok(!card.includes('base_model'));
    assert.match(card, /It was trained at one place\./);
    assert.match(card, /its own card states none here: look it up/);
    assert.match(card, /No evaluation is on record\./);
    assert.match(card, /Privacy spent: none: no differential privacy was used\./);
  });

  it('[CARD-6] tells what was held out where it was trained, unless a federation measured it', () => {
    const manifest = { ...facts.manifest, heldOut: { ...metrics, accuracy: 0.625 } };
    const alone = modelCard({ ...facts, manifest, records: [], plan: null, signer: null });
    assert.match(
      alone,
      /as its manifest says; nobody signed for these figures\.\n\n\| rows \| accuracy \| macro-F1 \|/,
    );
    assert.ok(alone.includes('| 40 | 62.5 % | 40.0 % | 1.250 | 0.100 | 0.600 |'), alone);
    assert.match(alone, /\nmetrics:\n- accuracy\n- f1\n---\n/);
    assert.equal(modelCard({ ...facts, manifest }), modelCard(facts));
  });

  it('[CARD-5] tells privacy that was spent, and how each format is loaded', () => {
    const spent = modelCard({ ...facts, records: [record(1, { privacy: 'epsilon 2.5 at delta 1e-5, client level' })] });
    assert.match(spent, /Privacy spent: epsilon 2\.5 at delta 1e-5, client level\./);
    assert.match(
      modelCard({ ...facts, format: 'tributary' }),
      /tributary evaluate --adapter DIR --base owner\/base --data FILE/,
    );
    assert.match(
      modelCard({ ...facts, format: 'adapterhub' }),
      /model\.load_adapter\("DIR", use_safetensors=True, set_active=True\)/,
    );
    assert.match(
      modelCard({ ...facts, format: 'merged' }),
      /library_name: transformers[\s\S]*BertForSequenceClassification\.from_pretrained\("DIR"\)/,
    );
    const headless = modelCard({ ...facts, isHeadless: true, remarks: ['Largest rank: 8.'] });
    assert.match(headless, /The trained head is left out of this folder\.\n\nLargest rank: 8\./);
    assert.ok(!headless.includes('num_labels'));
  });
});
