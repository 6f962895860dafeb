/**
 * Chat templates as `tokenizer_config.json` publishes them (Jinja), rendered with the variables of Transformers: `messages`,
 * `add_generation_prompt` and the names of the special tokens. The only importer of the library.
 */
import { Template } from '@huggingface/jinja';
import { errorMessage, FormatError, UsageError } from '../core/errors.ts';
import type { Configuration } from './configuration.ts';

/** One turn of a chat. */
export interface ChatTurn {
  readonly role: string;
  readonly content: string;
}

/** A stretch of a rendered chat. */
export interface ChatPart {
  readonly text: string;
  /** Whether the assistant says it, the end of its turn included: what a model learns to say. */
  readonly isAnswer: boolean;
}

/** A chat template, ready to render. */
export interface ChatTemplate {
  /**
   * The chat as one text; with `isPrompt` it ends where the assistant's next turn begins.
   * @throws UsageError `bad-chat` when the template refuses the chat, for example for the order of its roles.
   */
  render(messages: readonly ChatTurn[], options?: { readonly isPrompt?: boolean }): string;
  /**
   * The chat in parts whose texts joined are {@link render}. An answer begins where the chat before it, rendered as a prompt, ends.
   * @throws UsageError `bad-chat` as `render`, or when the template writes earlier turns differently once later ones follow.
   */
  parts(messages: readonly ChatTurn[]): readonly ChatPart[];
}

/** Some templates write the date, into what a model is trained on; a fixed one keeps runs repeatable (Llama 3.2 falls back to the same). */
const dateText = '26 Jul 2024';

/** The template of a tokenizer's settings, or null where they have none. @throws FormatError `bad-chat-template`. */
export function chatTemplateOf(settings: Configuration): ChatTemplate | null {
  const source = sourceOf(settings.chat_template);
  if (source === null) return null;
  const template = parse(source);
  const names = Object.entries(settings).flatMap(([name, value]) => {
    const text = name.endsWith('_token') ? tokenText(value) : null;
    return text === null ? [] : [[name, text]];
  });
  const variables = { ...Object.fromEntries(names), date_string: dateText } as Readonly<Record<string, string>>;
  const render: ChatTemplate['render'] = (messages, { isPrompt = false } = {}) => {
    try {
      return template.render({
        ...variables,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: isPrompt,
      });
    } catch (cause) {
      throw new UsageError('bad-chat', `the chat template refuses this chat: ${errorMessage(cause)}`, { cause });
    }
  };
  return { render, parts: (messages) => partsOf(messages, render) };
}

function partsOf(messages: readonly ChatTurn[], render: ChatTemplate['render']): ChatPart[] {
  const whole = render(messages);
  const parts: ChatPart[] = [];
  let done = 0;
  const take = (end: string, isAnswer: boolean): void => {
    if (!whole.startsWith(end) || end.length < done) {
      throw new UsageError(
        'bad-chat',
        'the chat template writes earlier turns differently once later ones follow, so nobody can tell where an answer begins; give chats that end with their only answer',
      );
    }
    if (end.length > done) parts.push({ text: whole.slice(done, end.length), isAnswer });
    done = end.length;
  };
  for (const [index, { role }] of messages.entries()) {
    if (role !== 'assistant') continue;
    take(render(messages.slice(0, index), { isPrompt: true }), false);
    take(render(messages.slice(0, index + 1)), true);
  }
  take(whole, false);
  return parts;
}

/** A template, or the one named `default` of several. */
function sourceOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return null;
  const named = (value as readonly unknown[]).find(
    (item) => typeof item === 'object' && item !== null && Reflect.get(item, 'name') === 'default',
  );
  const source = named === undefined ? null : (Reflect.get(named as object, 'template') as unknown);
  return typeof source === 'string' ? source : null;
}

function parse(source: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new FormatError(
      'bad-chat-template',
      `tokenizer_config.json: chat_template is broken: ${errorMessage(cause)}`,
      {
        cause,
      },
    );
  }
}

/** The text of a token as settings have it: a text, or an object with `content`. */
export function tokenText(value: unknown): string | null {
  const text = typeof value === 'object' && value !== null ? (Reflect.get(value, 'content') as unknown) : value;
  return typeof text === 'string' ? text : null;
}
