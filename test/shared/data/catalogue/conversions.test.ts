import { strict as assert } from 'node:assert';
import { banking77 } from '../../../../shared/data/catalogue/banking77.ts';
import { catalogue, entryOf, verificationOf } from '../../../../shared/data/catalogue/catalogue.ts';
import { clinc150 } from '../../../../shared/data/catalogue/clinc150.ts';
import type { CatalogueEntry } from '../../../../shared/data/catalogue/entry.ts';
import { medquad, passagesOf } from '../../../../shared/data/catalogue/medquad.ts';
import { medquadAnswers } from '../../../../shared/data/catalogue/medquad-answers.ts';
import { shakespeare } from '../../../../shared/data/catalogue/shakespeare.ts';
import { xsid } from '../../../../shared/data/catalogue/xsid.ts';
import { splitSides } from '../../../../shared/data/split.ts';

const convert = (entry: CatalogueEntry, files: Readonly<Record<string, string>>) =>
  entry.convert(new Map(Object.entries(files)));

/** `count` different sentences, told apart by their words. */
const sentences = (count: number, about: string): string[] =>
  Array.from({ length: count }, (_, index) => `${about} question number ${index}`);

describe('conversion of banking77', () => {
  const csv = (rows: readonly string[]): string => `text,category\n${rows.join('\n')}\n`;
  const train = [
    ...sentences(40, 'card').map((text) => `${text},card_arrival`),
    ...sentences(20, 'fee').map((text) => `"${text}, please",fees`),
  ];

  it('[BNK-1] keeps the test set, takes a tenth of every label for validation, and repeats nothing', () => {
    const test = ['Where is  it?,card_arrival', '"A ""quoted"", one\n",fees', 'where IS it,card_arrival'];
    const repeated = ['"CARD question, number 0!",card_arrival', 'where is it,fees'];
    const rows = convert(banking77, {
      'banking_data/train.csv': csv([...train, ...repeated]),
      'banking_data/test.csv': csv(test),
    });
    assert.deepEqual(rows.test, [
      { text: 'Where is it?', label: 'card_arrival', lang: 'en' },
      { text: 'A "quoted", one', label: 'fees', lang: 'en' },
    ]);
    const counts = (side: 'train' | 'validation') =>
      ['card_arrival', 'fees'].map((label) => rows[side].filter((row) => row.label === label).length);
    assert.deepEqual(
      [counts('train'), counts('validation')],
      [
        [36, 18],
        [4, 2],
      ],
    );
    assert.ok(rows.train.every(({ text }) => text !== 'where is it'));
  });

  it('[BNK-2] puts a text on the same side whatever stands beside it, and refuses other columns', () => {
    const sides = (rows: readonly string[]) => {
      const files = { 'banking_data/train.csv': csv(rows), 'banking_data/test.csv': csv([]) };
      return convert(banking77, files).validation.map(({ text }) => text);
    };
    assert.deepEqual(sides([...train].reverse()).sort(), sides(train).sort());
    const files = { 'banking_data/train.csv': 'a,b\n', 'banking_data/test.csv': csv([]) };
    assert.throws(() => convert(banking77, files), /train\.csv: expected the columns text and category/);
    assert.throws(() => convert(banking77, {}), { code: 'missing-file' });
  });
});

describe('conversion of clinc150', () => {
  const data = {
    train: [
      ['freeze my  account', 'freeze_account'],
      ['what is my pin', 'pin_change'],
    ],
    val: [['freeze the account', 'freeze_account']],
    test: [['what is my PIN?', 'pin_change']],
    oos_train: [['how do owls fly', 'oos']],
    oos_val: [['who won', 'oos']],
    oos_test: [['sing', 'oos']],
  };
  const domains = { banking: ['freeze_account', 'pin_change'] };

  it('[CLN-1] keeps the published sides with their out-of-scope questions; the client is the domain', () => {
    const files = { 'data/data_full.json': JSON.stringify(data), 'data/domains.json': JSON.stringify(domains) };
    const rows = convert(clinc150, files);
    assert.deepEqual(rows.train, [
      { text: 'freeze my account', label: 'freeze_account', client: 'banking', lang: 'en' },
      { text: 'how do owls fly', label: 'oos', client: 'out_of_scope', lang: 'en' },
    ]);
    assert.deepEqual(
      rows.test.map(({ text }) => text),
      ['what is my PIN?', 'sing'],
    );
    assert.deepEqual(
      rows.validation.map(({ label }) => label),
      ['freeze_account', 'oos'],
    );
  });

  it('[CLN-2] refuses an intent of no domain, and another form', () => {
    const files = { 'data/data_full.json': JSON.stringify(data), 'data/domains.json': '{"banking":["pin_change"]}' };
    assert.throws(() => convert(clinc150, files), /no domain has the intent "freeze_account"/);
    assert.throws(
      () => convert(clinc150, { ...files, 'data/data_full.json': '{"train":[]}' }),
      /is not what was published/,
    );
  });
});

describe('conversion of shakespeare', () => {
  it('[SHK-1] makes a row of every speech that is long enough, by characters who speak often enough, in the order of the text', () => {
    const speech = (name: string, index: number) => `${name}:\nSpeech ${index} of ${name} in\ntwo lines.\n`;
    const text = [
      ...Array.from({ length: 12 }, (_, index) => speech('KING RICHARD III', index)),
      ...Array.from({ length: 7 }, (_, index) => speech('Nurse', index)),
      'First Citizen:\nSpeak, speak.\n',
    ].join('\n');
    const rows = convert(shakespeare, { 'data/tinyshakespeare/input.txt': text });
    assert.deepEqual(
      splitSides.map((side) => rows[side].length),
      [8, 1, 3],
    );
    assert.deepEqual(rows.train[0], {
      text: 'Speech 0 of KING RICHARD III in\ntwo lines.',
      client: 'King Richard Iii',
      lang: 'en',
    });
    assert.ok(rows.test[0]!.text.startsWith('Speech 9'));
    assert.throws(() => convert(shakespeare, { 'data/tinyshakespeare/input.txt': 'prose' }), /expected speeches/);
  });
});

describe('conversion of xsid', () => {
  const languages = xsid.languages;
  const block = (lines: Readonly<Record<string, string>>, separator = ' = '): string =>
    `${Object.entries(lines)
      .map(([name, value]) => `# ${name}${separator}${value}`)
      .join('\n')}\n1\tword\tx\tO\n`;
  const files = (): Record<string, string> => {
    const found: Record<string, string> = {};
    for (const language of languages) {
      for (const part of ['valid', 'test']) {
        const blocks = Array.from({ length: 20 }, (_, index) => {
          const text = `${language} ${part}  sentence ${index + 1}`;
          const intent = index === 19 && part === 'test' ? 'alarm/modify_alarm' : 'weather/find';
          if (language === 'ja') return block({ id: `${(index % 10) + 1}`, 'text-en': 'x', text, intent }, ': ');
          return language === 'no'
            ? ['B', 'N']
                .map((dialect) => block({ id: `${index + 1}/2`, text: `${text} ${dialect}`, intent, dialect }))
                .join('\n')
            : block({ text, intent });
        });
        found[`data/xSID-0.7/${language}.${part}.conll`] = blocks.join('\n');
      }
    }
    return found;
  };

  it('[XSI-1] keeps all translations of a sentence on one side; clients are languages and Norwegian dialects', () => {
    const rows = convert(xsid, files());
    const sideOf = new Map<string, string>();
    for (const side of splitSides) {
      for (const { text, client, lang } of rows[side]) {
        const sentence = text.replace(/^\S+ | [BN]$/g, '');
        assert.equal(sideOf.get(sentence) ?? side, side, sentence);
        sideOf.set(sentence, side);
        assert.equal(client, lang === 'no' ? `no-${text.at(-1)}` : lang);
      }
    }
    assert.equal(sideOf.size, 39);
    const english = splitSides.map((side) => rows[side].filter(({ lang }) => lang === 'en').length);
    assert.deepEqual(english, [23, 4, 12]);
    assert.equal(rows.train.filter(({ client }) => client === 'ja').length, 23);
    assert.ok(rows.train.every(({ label, text }) => label === 'weather/find' && !text.includes('  ')));
  });

  it('[XSI-2] takes one speaker of a dialect for each sentence, and refuses a sentence without an intent', () => {
    const changed = files();
    const path = 'data/xSID-0.7/no.valid.conll';
    changed[path] += `\n${block({ id: '1/9', text: 'another speaker B', intent: 'weather/find', dialect: 'B' })}`;
    const all = (rows: ReturnType<typeof convert>) => splitSides.flatMap((side) => rows[side]);
    assert.deepEqual(convert(xsid, changed), convert(xsid, files()));
    assert.equal(all(convert(xsid, changed)).filter(({ client }) => client === 'no-B').length, 39);
    changed[path] = block({ text: 'x' });
    assert.throws(() => convert(xsid, changed), /no\.valid\.conll: sentence 1 lacks its text or its intent/);
  });
});

describe('conversion of medquad', () => {
  const document = (
    focus: string,
    answer: string,
    { source = 'GARD', type = 'symptoms' } = {},
  ): string => `<?xml version="1.0"?>
<Document id="1" source="${source}" url="http://example.org"><Focus>${focus}</Focus><QAPairs>
<QAPair pid="1"><Question qid="1-1" qtype="${type}">What are the symptoms of ${focus} ?</Question><Answer>${answer}</Answer></QAPair>
<QAPair pid="2"><Question qid="1-2" qtype="causes">What causes it ?</Question><Answer></Answer></QAPair>
</QAPairs></Document>`;
  const sentence = (words: number, name: string): string => `${Array(words).fill(name).join(' ')}.`;

  it('[MDQ-1] packs whole sentences into at most three passages of at most 60 words', () => {
    const answer = `It isn&apos;t &#233;asy&#x21;\n\n   ${[50, 5, 30, 30, 10, 70, 20].map((words, index) => sentence(words, `W${index}`)).join('\n')}`;
    const passages = passagesOf(document('Gout', answer), 'a.xml');
    assert.deepEqual(
      passages.map(({ row }) => row.text.split(' ').length),
      [58, 60, 10],
    );
    assert.ok(passages[0]!.row.text.startsWith("It isn't éasy! W0 W0"));
    assert.deepEqual(
      passages.map(({ row, disease }) => [row.label, row.client, disease]),
      Array(3).fill(['symptoms', 'GARD', 'Gout']),
    );
  });

  it('[MDQ-2] leaves out a heading that repeats the question, lists of links, and what is too short', () => {
    const text = sentence(12, 'Pain');
    const list = 'The Human Phenotype Ontology provides the following list of signs.';
    const [passage, ...more] = passagesOf(
      document('Gout', `What are the symptoms of Gout? ${text} ${list} More.`),
      'a.xml',
    );
    assert.deepEqual([passage?.row.text, more], [text, []]);
    assert.deepEqual(passagesOf(document('Gout', 'Seven words are too few for anyone.'), 'a.xml'), []);
    assert.throws(() => passagesOf('<html>', 'a.xml'), /a\.xml: expected a document with a source and a focus/);
  });

  it('[MDQ-3] keeps a disease on one side, drops rare labels, and holds every site to its limit', () => {
    const files: Record<string, string> = {};
    const add = (count: number, source: string, type: string): void => {
      for (let index = 0; index < count; index++) {
        const answer = [0, 1].map((part) => sentence(40, `About${type}${source}${index}x${part}`)).join(' ');
        files[`1_X/${source}${type}${index}.xml`] = document(`Disease ${index % 97}`, answer, { source, type });
      }
    };
    add(900, 'GARD', 'symptoms');
    add(90, 'CDC', 'stages');
    add(100, 'CDC', 'outlook');
    const rows = convert(medquad, files);
    const all = splitSides.flatMap((side) => rows[side].map((row) => ({ ...row, side })));
    const countOf = (label: string) => all.filter((row) => row.label === label).length;
    assert.deepEqual(['symptoms', 'stages', 'outlook'].map(countOf), [1500, 0, 200]);
    const sides = new Map<string, string>();
    for (const { text, side } of all) {
      const disease = String(Number(/(\d+)x/.exec(text)![1]) % 97);
      assert.equal(sides.get(disease) ?? side, side);
      sides.set(disease, side);
    }
    assert.ok(splitSides.every((side) => rows[side].length > 0));
  });
});

describe('conversion of medquad-answers', () => {
  it('[MDQ-4] takes whole answers about diseases of the training side, and none that holds a passage held out', () => {
    const files: Record<string, string> = {};
    const text = (name: string): string => `${Array(12).fill(`Word${name}`).join(' ')}. Then ${name} ends like this.`;
    for (let index = 0; index < 260; index++) {
      const answer = `${text(`x${index}`)}`;
      files[`9_CDC_QA/${index}.xml`] =
        `<Document source="CDC"><Focus>Disease ${index}</Focus><Question qtype="outlook">Q ?</Question><Answer>${answer}</Answer></Document>`;
    }
    const roles = convert(medquad, files);
    const heldOut = roles.test[0]!.text;
    const training = new Set(roles.train.map((row) => row.text));
    const leak = `<Document source="CDC"><Focus>Disease ${/x(\d+)/.exec(roles.train[0]!.text)![1]}</Focus><Question qtype="other">Q ?</Question><Answer>First of all. ${heldOut} And so on.</Answer></Document>`;
    const rows = convert(medquadAnswers, { ...files, '9_CDC_QA/999.xml': leak });
    const found = [...rows.train, ...rows.validation].map((row) => row.text);
    assert.deepEqual(new Set(found), training);
    assert.ok(rows.validation.length > 0 && rows.validation.length < 30);
    assert.deepEqual(rows.test, []);
    assert.deepEqual(Object.keys(rows.train[0]!), ['text', 'client', 'lang']);
  });
});

describe('catalogue', () => {
  it('[CAT-1] names every set once, pins commits, knows licence and authors, and claims no check that it cannot make', () => {
    assert.equal(new Set(catalogue.map(({ name }) => name)).size, catalogue.length);
    for (const entry of catalogue) {
      const { publication, licence, attribution, converted } = entry;
      assert.match(publication.commit, /^[0-9a-f]{40}$/);
      assert.match(publication.repository, /^[\w.-]+\/[\w.-]+$/);
      assert.ok(publication.files.length > 0 !== (publication.archive !== undefined), entry.name);
      assert.ok(licence.id !== '' && licence.url.startsWith('https://') && attribution.length > 10);
      for (const { sha256 = 'a'.repeat(64), gitBlob = 'a'.repeat(40) } of publication.files) {
        assert.match(sha256, /^[0-9a-f]{64}$/);
        assert.match(gitBlob, /^[0-9a-f]{40}$/);
      }
      const isKnown = publication.files.some(({ sha256, gitBlob }) => sha256 !== undefined || gitBlob !== undefined);
      if (!isKnown)
        assert.match(verificationOf(entry), /^published files by the object ids that commit [0-9a-f]{12} stands for/);
      if (converted === undefined) assert.match(verificationOf(entry), /no recorded checksum/);
    }
    assert.equal(entryOf('xsid', catalogue), xsid);
    assert.throws(() => entryOf('mnist', catalogue), /there are: banking77, clinc150/);
  });
});
