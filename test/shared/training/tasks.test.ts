/** Rows of every kind of task on their way to examples, and what is scored of them. */
import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import { chatTemplateOf } from '../../../shared/model/chat-template.ts';
import { taskSchema } from '../../../shared/plan/task.ts';
import { encodeRows } from '../../../shared/training/encode-rows.ts';
import { bindTask, rowForms } from '../../../shared/training/tasks/registry.ts';
import type { TaskTokenizer } from '../../../shared/training/tasks/task.ts';

/**
 * A tokenizer of letters: `a` is 10, `b` 11, …; a blank is 36, a line end 37; `1` begins and `2` ends a text, 3 is the mask; and a word in
 * capitals is one piece, 40 and its length.
 */
const letters = (text: string): number[] =>
  (text.match(/[A-Z]+|[a-z]| |\n/g) ?? []).map((piece) => {
    if (piece === ' ') return 36;
    if (piece === '\n') return 37;
    return /[A-Z]/.test(piece) ? 40 + piece.length : 10 + piece.charCodeAt(0) - 97;
  });
const tokenizer: TaskTokenizer = {
  encode: (text, lengthMax) => {
    const ids = letters(text);
    return Int32Array.from([1, ...ids.slice(0, Math.max(0, lengthMax - 2)), 2]);
  },
  pieces: (text) => Int32Array.from(letters(text.trim())),
  frame: { before: Int32Array.of(1), after: Int32Array.of(2) },
  endId: 2,
  maskId: 3,
  specialIds: new Set([0, 1, 2, 3]),
  chat: null,
};
const vocabulary = { vocabularySize: 60, maskId: 3 };
const noChance = () => seededRandom(0);
const view = (record: object) => viewsOf([record])[0]!;
const listOf = (values: Int32Array) => [...values];

describe('multi-label task', () => {
  const task = bindTask({ kind: 'multi-label', labels: ['a', 'b', 'c'], pooling: 'mean', lengthMax: 8 });

  it('[TSK-1] reads lists, lists in text, and rows without a label; targets are indices in order', () => {
    const read = (record: object) => task.rows.read(view(record), {});
    const targets = (record: object) => listOf(task.encode(read(record), tokenizer).examples[0]!.targets);
    assert.deepEqual(targets({ text: 'x', labels: ['c', 'a', 'c'] }), [0, 2]);
    assert.deepEqual(targets({ text: 'x', labels: 'b | c' }), [1, 2]);
    assert.deepEqual(targets({ text: 'x', labels: [] }), []);
    assert.throws(() => targets({ text: 'x', labels: ['z'] }), { code: 'unknown-label' });
    assert.throws(() => read({ text: 'x', labels: 7 }), /row 1: expected a list in "labels", found a number/);
    assert.throws(() => read({ text: 'x' }), /"labels" is missing; there are: "text"/);
  });
});

describe('tokens task', () => {
  const task = bindTask({ kind: 'tokens', labels: ['B-X', 'I-X', 'O'], lengthMax: 8 });
  const row = (words: string[], tags: string[]) => ({ words, tags, line: 5 });

  it('[TSK-2] scores the first piece of every word and nothing else', () => {
    const { examples, isCut } = task.encode(row(['ab', 'C', 'd'], ['B-X', 'I-X', 'O']), tokenizer);
    assert.equal(isCut, false);
    assert.deepEqual(listOf(examples[0]!.ids), [1, 10, 11, 41, 13, 2]);
    assert.deepEqual(listOf(examples[0]!.targets), [-1, 0, -1, 1, 2, -1]);
    const arranged = task.arrange(examples, noChance, vocabulary);
    assert.deepEqual(
      arranged.places.map(({ row: at, token }) => [at, token]),
      [
        [0, 1],
        [0, 3],
        [0, 4],
      ],
    );
    assert.deepEqual(arranged.targets, [0, 1, 2]);
  });

  it('[TSK-3] cuts between words, and leaves out what has room for no word', () => {
    const cut = task.encode(row(['abc', 'defg', 'h'], ['O', 'B-X', 'O']), tokenizer);
    assert.deepEqual([cut.isCut, listOf(cut.examples[0]!.targets)], [true, [-1, 2, -1, -1, -1]]);
    const long = row(['abcdefgh'], ['O']);
    assert.deepEqual(task.encode(long, tokenizer), { examples: [], isCut: true });
    const counts = encodeRows([long, row(['a'], ['O'])], { task, tokenizer });
    assert.deepEqual([counts.rowCount, counts.truncatedCount, counts.droppedCount, counts.source.count], [2, 1, 1, 1]);
  });

  it('[TSK-4] marks the blank before a word where the tokenizer does', () => {
    const spaced: TaskTokenizer = {
      ...tokenizer,
      pieces: (text) =>
        Int32Array.from(
          text.match(/ ?[a-z]/g) ?? [],
          (piece) => piece.length * 100 + piece.charCodeAt(piece.length - 1),
        ),
    };
    const { examples } = task.encode(row(['a', 'b'], ['O', 'O']), spaced);
    assert.deepEqual(listOf(examples[0]!.ids), [1, 197, 298, 2]);
  });

  it('[TSK-5] reads tokens or words with tags, and names lists of different lengths', () => {
    const { read, write } = rowForms.tokens;
    const found = read(view({ words: ['a', 'b'], ner_tags: ['O', 'B-X'] }), {});
    assert.deepEqual(found, { words: ['a', 'b'], tags: ['O', 'B-X'], line: 1 });
    assert.deepEqual(read(view(write({ ...found, group: 'north' })), { group: 'client' }), {
      ...found,
      group: 'north',
    });
    assert.deepEqual(read(view({ text: 'a  b', tag: 'O O' }), { text: 'text', label: 'tag' }).line, 1);
    const names = ['O', 'B-X'];
    const numbered = read(view({ tokens: ['a', 'b'], ner_tags: [1, 0] }), { names });
    assert.deepEqual(numbered, { words: ['a', 'b'], tags: ['B-X', 'O'], line: 1 });
    assert.throws(
      () => read(view({ tokens: ['a'], tags: [7] }), { names }),
      /a number below 2, the count of names, .*found 7/,
    );
    const labelled = rowForms.classification.read(view({ text: 'x', label: '1' }), { names: ['no', 'yes'] });
    assert.deepEqual(labelled, { text: 'x', label: 'yes', line: 1 });
    assert.throws(
      () => read(view({ tokens: ['a'], tags: ['O', 'O'] }), {}),
      /one tag in "tags" for each of the 1 words, found 2/,
    );
    assert.throws(() => read(view({ tokens: [1], tags: ['O'] }), {}), /expected text in the list "tokens"/);
  });

  it('[TSK-6] counts entities of every sequence by itself', () => {
    const rows = [row(['a', 'b'], ['B-X', 'I-X']), row(['c'], ['I-X'])];
    const examples = rows.flatMap((one) => task.encode(one, tokenizer).examples);
    const arranged = task.arrange(examples, noChance, vocabulary);
    const { source } = encodeRows(rows, { task, tokenizer });
    assert.equal(source.count, 2);
    // Predicted B-X I-X, and B-X where truth has I-X: the same entity at a beginning.
    const scores = [5, 0, 0, 0, 5, 0, 5, 0, 0];
    const counts = structuredClone(bindCounts());
    task.count!(counts, scores, arranged);
    assert.deepEqual(counts.entities, { truth: [2], predicted: [2], correct: [2] });
    assert.deepEqual(counts.labels.correct, [1, 1, 0]);
    assert.deepEqual([counts.exampleCount, counts.targetCount, counts.rightCount], [2, 3, 2]);
  });

  function bindCounts() {
    return {
      exampleCount: 0,
      targetCount: 0,
      rightCount: 0,
      lossSum: 0,
      squaredErrorSum: 0,
      labels: { truth: [0, 0, 0], predicted: [0, 0, 0], correct: [0, 0, 0] },
      entities: { truth: [0], predicted: [0], correct: [0] },
      histograms: [],
      calibration: {
        decisions: Array.from({ length: 15 }, () => 0),
        right: Array.from({ length: 15 }, () => 0),
        probabilitySums: Array.from({ length: 15 }, () => 0),
      },
    };
  }
});

describe('causal task', () => {
  const task = bindTask({ kind: 'causal', lengthMax: 6 });
  const encoded = (record: object, changes: Partial<TaskTokenizer> = {}) =>
    task.encode(task.rows.read(view(record), {}), { ...tokenizer, ...changes });

  it('[TSK-7] cuts a long text into examples that predict every token but the first exactly once', () => {
    const { examples, isCut } = encoded({ text: 'abcdefghij' });
    assert.equal(isCut, false);
    assert.deepEqual(
      examples.map(({ ids }) => listOf(ids)),
      [
        [1, 10, 11, 12, 13, 14],
        [14, 15, 16, 17, 18, 19],
        [19, 2],
      ],
    );
    const predicted = examples.flatMap(({ targets }) => listOf(targets).filter((target) => target !== -1));
    assert.deepEqual(predicted, [...letters('abcdefghij'), 2]);
    const { places, targets } = task.arrange([examples[2]!], noChance, vocabulary);
    assert.deepEqual([places.map(({ token }) => token), targets], [[0], [2]], 'the state before predicts');
  });

  it('[TSK-8] learns the answer and the end after it, and nothing of the prompt', () => {
    const { examples, isCut } = encoded({ prompt: 'ab', answer: 'c' });
    assert.deepEqual(listOf(examples[0]!.ids), [1, 10, 11, 12, 2]);
    assert.deepEqual(listOf(examples[0]!.targets), [-1, -1, -1, 12, 2]);
    assert.equal(isCut, false);
    const joined = encoded({ prompt: 'aB', completion: 'Cd' }).examples[0]!;
    assert.deepEqual(listOf(joined.targets), [-1, -1, 42, 13, 2], 'a token across the border belongs to the answer');
    const cut = encoded({ prompt: 'abcd', answer: 'efgh' });
    assert.deepEqual([cut.isCut, listOf(cut.examples[0]!.targets)], [true, [-1, -1, -1, -1, -1, 14]]);
    assert.deepEqual(encoded({ prompt: 'abcdefgh', answer: 'i' }), { examples: [], isCut: true });
  });

  it('[TSK-9] learns what the assistant says in a chat, as the base writes chats', () => {
    const chat = chatTemplateOf({
      chat_template:
        "{% for m in messages %}{{ 'U' if m.role == 'user' else 'AAA' }}{{ m.content }}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}AAA{% endif %}",
    });
    const messages = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c' },
    ];
    const chats: Partial<TaskTokenizer> = { chat, pieces: (text) => Int32Array.from(letters(text)) };
    const long = bindTask({ kind: 'causal', lengthMax: 20 });
    const [example] = long.encode(task.rows.read(view({ messages }), {}), { ...tokenizer, ...chats }).examples;
    assert.deepEqual(listOf(example!.ids), letters('Ua\nAAAb\nUc\n'));
    assert.deepEqual(listOf(example!.targets), [-1, -1, -1, -1, 11, 37, -1, -1, -1]);
    assert.throws(() => encoded({ messages }), { code: 'no-chat-template' });
    assert.throws(() => task.rows.read(view({ messages: [{ role: 'user' }] }), {}), /role and content/);
    assert.throws(() => task.rows.read(view({ other: 'x' }), {}), /"messages" or "prompt" or "text" is missing/);
  });

  it('[TSK-10] writes every form of row as it reads it', () => {
    const { read, write } = rowForms.causal;
    for (const record of [{ text: 'a' }, { prompt: 'a', answer: 'b' }, { messages: [{ role: 'user', content: 'a' }] }])
      assert.deepEqual(write(read(view(record), {})), record);
  });
});

describe('masked task', () => {
  const task = bindTask({ kind: 'masked', lengthMax: 64, maskFraction: 0.15 });
  const text = 'abcdefghijklmnopqrstuvwxyzabcdefghijklmn';
  const { examples } = task.encode({ text, line: 1 }, tokenizer);

  it('[TSK-11] guesses the rounded share, never special tokens, mostly as masks, as the seed says', () => {
    const seen = { masked: 0, same: 0, other: 0 };
    for (let seed = 0; seed < 300; seed++) {
      const { places, targets, examples: read } = task.arrange(examples, () => seededRandom(seed), vocabulary);
      assert.equal(places.length, 6, '0.15 of 40 tokens');
      for (const [index, { token }] of places.entries()) {
        const original = examples[0]!.ids[token]!;
        assert.equal(targets[index], original);
        assert.ok(token > 0 && token < 41, 'neither the first nor the last token');
        const found = read[0]!.ids[token]!;
        seen[found === 3 ? 'masked' : found === original ? 'same' : 'other']++;
      }
      const changed = [...read[0]!.ids].filter((id, token) => id !== examples[0]!.ids[token]).length;
      assert.ok(changed <= 6, 'nothing else changes');
    }
    const share = (count: number) => count / 1800;
    assert.ok(
      Math.abs(share(seen.masked) - 0.8) < 0.03 && Math.abs(share(seen.other) - 0.1) < 0.025,
      JSON.stringify(seen),
    );
    const draw = (seed: number) => task.arrange(examples, () => seededRandom(seed), vocabulary);
    assert.deepEqual(draw(4), draw(4));
    assert.notDeepEqual(draw(4), draw(5));
  });

  it('[TSK-12] guesses at least one token, and needs a mask and something to guess', () => {
    const [short] = task.encode({ text: 'a', line: 1 }, tokenizer).examples;
    assert.equal(task.arrange([short!], noChance, vocabulary).places.length, 1);
    assert.throws(() => task.encode({ text: 'a', line: 1 }, { ...tokenizer, maskId: null }), { code: 'no-mask-token' });
    assert.throws(() => task.encode({ text: '.', line: 9 }, tokenizer), /line 9 has no token/);
  });
});

describe('task schema', () => {
  it('[TSK-13] tells kinds apart, fills in defaults and names what a kind does not have', () => {
    const parsed = (value: unknown) => taskSchema.safeParse(value);
    assert.deepEqual(parsed({ kind: 'masked' }).data, { kind: 'masked', lengthMax: 128, maskFraction: 0.15 });
    assert.deepEqual(parsed({ labels: ['a', 'b'], pooling: 'mean' }).data, {
      kind: 'classification',
      labels: ['a', 'b'],
      pooling: 'mean',
      lengthMax: 128,
    });
    const issue = (value: unknown) => parsed(value).error!.issues[0]!;
    assert.match(issue({ kind: 'token' }).message, /one of classification, .* \(did you mean tokens\?\)/);
    assert.deepEqual(issue({ kind: 'token' }).path, ['kind']);
    assert.equal(issue({ kind: 'causal', labels: ['a', 'b'] }).code, 'unrecognized_keys');
    assert.match(issue('causal').message, /a section with the field kind/);
    assert.match(issue({ kind: 'tokens', labels: ['O'] }).message, /2 to 16384 different labels/);
  });
});
