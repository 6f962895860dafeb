/**
 * What a site's customers write like: the parts of the sample's grammar. In a phrase `[a|b|c]` stands for one of the alternatives (an empty
 * one is allowed) and `{name}` for a value of that slot.
 */

/** What customers write about: the labels of the sample, in the order of their code units. */
export const intents = [
  'card_declined',
  'card_delivery',
  'card_lost',
  'details_change',
  'exchange_travel',
  'fee_question',
  'loan_question',
  'login_problem',
  'pin_help',
  'transfer_missing',
  'transfer_recall',
  'unknown_charge',
] as const;

/** One of {@link intents}. */
export type Intent = (typeof intents)[number];

/** How many of a site's messages are about an intent, in percent, and how its customers say it. */
export interface Topic {
  readonly percent: number;
  /** Eight phrases. The last two occur in test rows only: customers of tomorrow also find new words. */
  readonly phrases: readonly string[];
}

/** One site. */
export interface Voice {
  /** Value of the column `client`. */
  readonly name: string;
  /** Slots that this site fills in its own way; the others come from `slots.ts`. */
  readonly slots: Readonly<Record<string, readonly string[]>>;
  readonly openings: readonly string[];
  /** Sentences beside the point, which often name what another intent is about. */
  readonly asides: readonly string[];
  readonly closings: readonly string[];
  /** Shares in [0, 1]: messages with an opening, an aside, a closing; words with a typing error; messages in lower case without full stops. */
  readonly openingShare: number;
  readonly asideShare: number;
  readonly closingShare: number;
  readonly typoShare: number;
  readonly carelessShare: number;
  readonly topics: Readonly<Record<Intent, Topic>>;
}

/** Phrases at the end of each list that training rows never use. */
export const testOnlyPhraseCount = 2;
