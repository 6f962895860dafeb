/** Clipping alone is never called private: no sentence of the product, whoever reads it, gives a clipped update a privacy that only noise gives. */
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parsePlan } from '../../shared/plan/plan.ts';
import { describePrivacy, readStatement, spentStatement } from '../../shared/plan/privacy.ts';
import { describeMasking } from '../../shared/plan/secure-aggregation.ts';
import { minimalPlan } from '../shared/plan/minimal-plan.ts';
import { readSources, root } from './sources.ts';

/** What bounds updates, and what nobody may say of that alone. */
const clips = /\bclip(?:s|ped|ping)?\b|\bclip norm\b|\bnorm-clip\b|\bclipNorm\b/i;
const claims = /\bprivate(?:ly)?\b|\bprivacy\b|\banonym\w*|\bconfidential\w*|\bnobody (?:can )?(?:learns?|reads?)\b/i;
/** What makes a sentence with both right: noise or its accounting is part of it, or it denies the claim. */
const isRight =
  /\bnois[ey]\b|\bepsilon\b|\baccount\w*|\bbudget\b|\bsensitiv\w*|\bno (?:claim of )?(?:differential )?privacy\b|\bnot? privacy\b|\bunit\b/i;

/** Sentences of texts for people: documents, and texts and comments of code. */
function sentencesOf(text: string): string[] {
  return (
    text
      .replaceAll(/\n\s*(?:\*|\/\/)?\s*/g, ' ')
      // Names of fields say nothing.
      .replaceAll(/\bprivacy\.\w+/g, '')
      .split(/(?<=[.;:!?])\s+|\|/)
      .filter((sentence) => clips.test(sentence) && claims.test(sentence))
  );
}

const wrongIn = (text: string): string[] => sentencesOf(text).filter((sentence) => !isRight.test(sentence));

describe('words about clipping', () => {
  it('[CLW-1] a sentence that calls clipping private is found', () => {
    assert.equal(wrongIn('Updates are clipped, so what single sites have stays private.').length, 1);
    assert.equal(wrongIn('With clipNorm set, the privacy of clients is kept.').length, 1);
    assert.deepEqual(wrongIn('Clipping alone is no privacy. Updates are clipped and get noise, which is private.'), []);
  });

  it('[CLW-2] no document says so, and no text that the product prints', () => {
    const folders = ['shared', 'coordinator', 'client', 'simulations'];
    const documents = ['.', ...folders].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: folder !== '.', encoding: 'utf8' })
        .filter((name) => name.endsWith('.md'))
        .map((name) => join(folder, name)),
    );
    assert.ok(documents.length > 20, `${documents.length} documents`);
    for (const path of documents) assert.deepEqual(wrongIn(readFileSync(join(root, path), 'utf8')), [], path);
    for (const { path, text } of readSources(...folders))
      for (const [, ...quoted] of text.matchAll(/'([^'\n]*)'|`([^`]*)`|"([^"\n]*)"/g)) {
        const said = quoted.join('');
        if (said.includes(' ')) assert.deepEqual(wrongIn(said), [], path);
      }
  });

  it('[CLW-3] a plan that clips everywhere and adds no noise protects nobody, says so, and no record of a version says otherwise', () => {
    for (const changes of [
      { secureAggregation: { mode: 'on', clipNorm: 0.1 } },
      { secureAggregation: { mode: 'off' }, aggregation: { robust: 'norm-clip', robustNorm: 0.1, weighting: 'equal' } },
      { secureAggregation: { mode: 'off' }, aggregation: { robust: 'centred-clip', weighting: 'equal' } },
      { privacy: { unit: 'none', clipNorm: 0.1, epsilon: 1 } },
    ]) {
      const plan = parsePlan({ ...minimalPlan(), rounds: { count: 3, quorum: 10 }, ...changes }, 'the test');
      assert.deepEqual(describePrivacy(plan), [
        'no differential privacy: versions may give away what single clients have',
      ]);
      assert.equal(spentStatement(plan, 1000, 0), null);
      assert.doesNotMatch(describeMasking(plan), /private|privacy/);
    }
    assert.equal(readStatement('updates of at most the norm 0.1').unit, 'none');
  });
});
