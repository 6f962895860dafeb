/**
 * Masked language modelling (Devlin 2019, section 3.1 and appendix A.1): of the tokens that are no special ones, a share is to be guessed; 80 %
 * of those are replaced by the mask, 10 % by any token, 10 % stay. The number is the rounded share, at least one, as in the published
 * code. Masks are drawn anew for every pass of training; an evaluation draws the same ones every time.
 */

import { assert } from '../../core/assert.ts';
import { UsageError } from '../../core/errors.ts';
import { type EncodedExample, encodeText, noTokens } from '../../data/encode.ts';
import type { TextRow } from '../../data/row.ts';
import { columnOf, placeOf, textIn } from '../../data/row-fields.ts';
import type { MaskedTask } from '../../plan/task.ts';
import { arrangeTokens, languageMetrics, languageShape, type ScoredToken } from './language.ts';
import { headless, writeGroup } from './shared.ts';
import type { BoundTask, Draw, RowForm, TaskVocabulary } from './task.ts';

const maskedShare = 0.8;
const randomShare = 0.1;

/** Texts. */
export const textRows: RowForm<TextRow> = {
  read: (view, columns) => ({
    text: textIn(view, columnOf(view, [columns.text ?? 'text'])),
    ...placeOf(view, columns),
  }),
  write: (row) => ({ text: row.text, ...writeGroup(row) }),
};

/** Masked language modelling with these settings. */
export function masked(task: MaskedTask): BoundTask<TextRow> {
  const { lengthMax, maskFraction } = task;
  return {
    task,
    metrics: languageMetrics,
    shape: languageShape,
    readout: { kind: 'vocabulary' },
    fault: (base) =>
      base.causal
        ? {
            field: 'kind',
            sentence: `must be another on ${base.family}, found "masked": tokens see nothing of what follows them there; causal is the language-model task of such bases`,
          }
        : headless(base, 'masked'),
    rows: textRows,
    encode: (row, tokenizer) => {
      if (tokenizer.maskId === null) {
        throw new UsageError(
          'no-mask-token',
          'masked language modelling needs a mask token, but tokenizer_config.json names none (mask_token) and tokenizer.json has no special token [MASK] or <mask>',
        );
      }
      const { ids, isCut } = encodeText(row.text, { tokenizer, lengthMax, line: row.line });
      const targets = ids.map((id) => (tokenizer.specialIds.has(id) ? -1 : id));
      if (targets.every((target) => target === -1)) throw noTokens(row.line);
      return { examples: [{ ids, targets }], isCut };
    },
    arrange: (examples, draw, vocabulary) => {
      const scored: ScoredToken[] = [];
      const read = examples.map((example, row) => {
        const masks = drawMasks(example, { draw: draw(row), vocabulary, maskFraction });
        for (const token of masks.tokens) scored.push({ row, token, target: example.ids[token]! });
        return { ids: masks.ids, targets: example.targets };
      });
      return arrangeTokens(read, scored);
    },
  };
}

/** Places to be guessed, ascending, and what the base reads instead. */
function drawMasks(
  { ids, targets }: EncodedExample,
  {
    draw,
    vocabulary: { maskId, vocabularySize },
    maskFraction,
  }: { readonly draw: ReturnType<Draw>; readonly vocabulary: TaskVocabulary; readonly maskFraction: number },
): { readonly tokens: readonly number[]; readonly ids: Int32Array } {
  assert(maskId !== null, 'rows were encoded with a mask token');
  const candidates = [...ids.keys()].filter((token) => targets[token] !== -1);
  const count = Math.max(1, Math.round(maskFraction * candidates.length));
  const tokens = draw
    .shuffle(candidates)
    .slice(0, count)
    .sort((left, right) => left - right);
  const read = ids.slice();
  for (const token of tokens) {
    const turn = draw.uniform();
    if (turn < maskedShare) read[token] = maskId;
    else if (turn < maskedShare + randomShare) read[token] = draw.integer(vocabularySize);
  }
  return { tokens, ids: read };
}
