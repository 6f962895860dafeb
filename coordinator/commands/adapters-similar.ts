/** Weights of adapters for texts that none of them was trained on, by the similarity of the texts to theirs. */
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';

/** What {@link similarWeights} needs. */
export interface SimilarOptions {
  /** Folder of the base. */
  readonly base: string;
  /** Files with texts of every adapter, in their order. */
  readonly texts: readonly string[];
  /** File with the new texts. */
  readonly like: string;
  /** How many adapters are chosen. */
  readonly closest: number;
}

/** Texts that are read of each file: a mean over so many does not move with more. */
const textsMax = 2000;
/** Tokens of a text that count. */
const lengthMax = 128;

/** Weights in the order of `texts`, as `soupWeights` gives them. @throws as readers of data and bases do. */
export async function similarWeights(options: SimilarOptions, context: CommandContext): Promise<number[]> {
  const [{ useBackend }, { loadBase }, { profileTexts }, { soupWeights, similarity }] = await Promise.all([
    import('../../shared/compute/backend.ts'),
    import('../../shared/model/load.node.ts'),
    import('../../shared/training/text-profile.ts'),
    import('../../shared/adapters/composition/similarity.ts'),
  ]);
  const { texts, like, closest } = options;
  if (!Number.isInteger(closest) || closest < 1 || closest > texts.length)
    throw new UsageError('bad-option', `--closest must be a whole number from 1 to ${texts.length}, found ${closest}`);
  const backend = await useBackend('auto');
  const { model: base, tokenizer } = await loadBase(options.base);
  try {
    context.log(`comparing texts with ${options.base} on ${backend.name}`);
    const profile = async (path: string) =>
      profileTexts({ base, tokenizer, texts: await readTexts(path), lengthMax, signal: context.signal });
    const wanted = await profile(like);
    const profiles = [];
    for (const path of texts) profiles.push(await profile(path));
    const weights = soupWeights(profiles, wanted, closest);
    for (const [index, own] of profiles.entries())
      context.log(
        `${texts[index]}: similarity ${similarity(own, wanted).toFixed(4)}, weight ${weights[index]!.toFixed(2)}`,
      );
    return weights;
  } finally {
    base.dispose();
  }
}

async function readTexts(path: string): Promise<string[]> {
  const { readRecords } = await import('../../shared/data/records.node.ts');
  const texts: string[] = [];
  for await (const { value, line } of readRecords(path)) {
    const { text } = value;
    if (typeof text !== 'string')
      throw new UsageError('bad-row', `${path}: line ${line} must have a text in the column text`);
    texts.push(text);
    if (texts.length === textsMax) break;
  }
  if (texts.length === 0) throw new UsageError('no-rows', `${path}: expected at least one row, found none`);
  return texts;
}
