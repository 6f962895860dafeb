/**
 * The sample data set: bank customers' messages of four sites with their intent, drawn from the grammars of this folder with one fixed
 * seed. It does not depend on anything that is trained; `test/simulations/quickstart/sample/generate.test.ts` holds its digest.
 */
import { assert } from '../../../shared/core/assert.ts';
import { type SeededRandom, seededRandom } from '../../../shared/core/random.ts';
import { creditUnion } from './credit-union.ts';
import { onlineBank } from './online-bank.ts';
import { privateBank } from './private-bank.ts';
import { retailApp } from './retail-app.ts';
import { sharedSlots } from './slots.ts';
import { type Intent, intents, testOnlyPhraseCount, type Voice } from './voice.ts';

/** One message; `client` is the site whose customer wrote it. */
export interface SampleRow {
  readonly text: string;
  readonly label: Intent;
  readonly client: string;
}

/** Rows to train on and rows to test with; no text occurs twice. */
export interface SampleData {
  readonly train: readonly SampleRow[];
  readonly test: readonly SampleRow[];
}

/** The sites in the order of their rows. */
export const voices: readonly Voice[] = [retailApp, privateBank, creditUnion, onlineBank];

/** Rows of each site. */
export const trainRowsPerSite = 360;
/** Test rows of each site. */
export const testRowsPerSite = 200;

/** Seed of the sample: it is data, not a setting. */
const sampleSeed = 2026;
/** Draws for one new message before the grammar counts as too small. */
const drawsMax = 1000;
/** Shortest word that gets a typing error: shorter ones become unreadable. */
const typoLettersMin = 4;

/** Draws the whole sample; always the same. */
export function generateSample(): SampleData {
  const taken = new Set<string>();
  const draw = (split: 'train' | 'test', rowsPerSite: number): SampleRow[] =>
    voices.flatMap((voice) => {
      const random = seededRandom(sampleSeed, split, voice.name);
      const rows = intentsOf(voice, rowsPerSite).map(
        (label): SampleRow => ({
          text: newMessage(voice, label, split, taken, random),
          label,
          client: voice.name,
        }),
      );
      return random.shuffle(rows);
    });
  const train = draw('train', trainRowsPerSite);
  return { train, test: draw('test', testRowsPerSite) };
}

/** The sample as JSON Lines, as it is written to disk. */
export function toJsonLines(rows: readonly SampleRow[]): string {
  return rows.map(({ text, label, client }) => `${JSON.stringify({ text, label, client })}\n`).join('');
}

/** As many intents as rows, in the site's shares; rounding goes to the largest remainders. */
function intentsOf({ topics }: Voice, rowCount: number): Intent[] {
  const quotas = intents.map((intent) => (topics[intent].percent * rowCount) / 100);
  const counts = quotas.map(Math.floor);
  const byRemainder = quotas
    .map((quota, index) => ({ index, remainder: quota - counts[index]! }))
    .sort((left, right) => right.remainder - left.remainder || left.index - right.index);
  const missing = rowCount - counts.reduce((sum, count) => sum + count, 0);
  for (const { index } of byRemainder.slice(0, missing)) counts[index]!++;
  return intents.flatMap((intent, index) => Array.from({ length: counts[index]! }, () => intent));
}

function newMessage(
  voice: Voice,
  intent: Intent,
  split: 'train' | 'test',
  taken: Set<string>,
  random: SeededRandom,
): string {
  for (let draws = 0; draws < drawsMax; draws++) {
    const text = message(voice, intent, split, random);
    if (taken.has(text)) continue;
    taken.add(text);
    return text;
  }
  assert(false, `${voice.name} has too few ways to say ${intent}`);
}

function message(voice: Voice, intent: Intent, split: 'train' | 'test', random: SeededRandom): string {
  const { phrases } = voice.topics[intent];
  const phraseCount = split === 'train' ? phrases.length - testOnlyPhraseCount : phrases.length;
  const parts = [expand(phrases[random.integer(phraseCount)]!, voice, random)];
  const maybe = (share: number, choices: readonly string[], add: (part: string) => void): void => {
    if (random.uniform() < share) add(expand(pick(choices, random), voice, random));
  };
  maybe(voice.asideShare, voice.asides, (aside) => {
    if (random.uniform() < 0.5) parts.push(aside);
    else parts.unshift(aside);
  });
  maybe(voice.openingShare, voice.openings, (opening) => parts.unshift(opening));
  maybe(voice.closingShare, voice.closings, (closing) => parts.push(closing));
  const text = misspell(parts.map(capitalise).join(' '), voice.typoShare, random);
  return random.uniform() < voice.carelessShare ? text.toLowerCase().replaceAll('.', '') : text;
}

/** Chooses alternatives, then fills slots; a slot's value may hold slots. */
function expand(phrase: string, voice: Voice, random: SeededRandom): string {
  const chosen = phrase.replaceAll(/\[([^\]]*)\]/g, (_, alternatives: string) => pick(alternatives.split('|'), random));
  const filled = fillSlots(fillSlots(chosen, voice, random), voice, random);
  return filled
    .replaceAll(/ +/g, ' ')
    .replaceAll(/ ([.,;?!])/g, '$1')
    .trim();
}

function fillSlots(phrase: string, { slots }: Voice, random: SeededRandom): string {
  return phrase.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const values = slots[name] ?? sharedSlots[name];
    assert(values !== undefined, `the phrase "${phrase}" names an unknown slot ${name}`);
    return pick(values, random);
  });
}

/** Typing errors in single words: two letters swapped, one left out, or one doubled. */
function misspell(text: string, share: number, random: SeededRandom): string {
  return text.replaceAll(/[A-Za-z]+/g, (word) => {
    if (word.length < typoLettersMin || random.uniform() >= share) return word;
    const place = 1 + random.integer(word.length - 2);
    const kind = random.integer(3);
    if (kind === 0) return word.slice(0, place) + word[place + 1] + word[place] + word.slice(place + 2);
    if (kind === 1) return word.slice(0, place) + word.slice(place + 1);
    return word.slice(0, place + 1) + word.slice(place);
  });
}

function capitalise(part: string): string {
  return part.charAt(0).toUpperCase() + part.slice(1);
}

function pick<Item>(items: readonly Item[], random: SeededRandom): Item {
  return items[random.integer(items.length)]!;
}
