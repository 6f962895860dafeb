/** The base of a command that writes or reads files of other libraries: from a folder, or by its name on the hub. */
import type { OpenBase } from '../../shared/adapters/formats/open-base.ts';
import type { CommandContext } from '../../shared/command-line/context.ts';
import { UsageError } from '../../shared/core/errors.ts';

/** A base with what its card and its configuration call it. */
export interface NamedBase {
  readonly folder: string;
  readonly base: OpenBase;
  /** What to load it by; empty where nobody says. */
  readonly name: string;
  /** Licence that its card names; null where none. */
  readonly license: string | null;
}

/** Opens the base that `text` names (a folder, or `hf:owner/name@revision`; the one that ships when it is left out) for `use`. */
export async function withBase<Result>(
  text: string | undefined,
  context: CommandContext,
  use: (named: NamedBase) => Promise<Result>,
): Promise<Result> {
  const [{ licenseOf }, { openBase }, { resolveBaseFolder }, { pretrainedFolder, withFolder }] = await Promise.all([
    import('../../shared/adapters/formats/adapter-folders.node.ts'),
    import('../../shared/adapters/formats/open-base.ts'),
    import('../../shared/model/hub.node.ts'),
    import('../../shared/model/load.node.ts'),
  ]);
  const folder = text === undefined ? pretrainedFolder() : await resolveBaseFolder(text, context);
  return withFolder(folder, async (content) => {
    const base = openBase(content);
    const [, onHub] = /^hf:([^@]+)/.exec(text ?? '') ?? [];
    return use({ folder, base, name: onHub ?? nameOf(base), license: await licenseOf(folder) });
  });
}

/**
 * What is known of the base of a coordinator's state, whose files hold no card: the name and licence of the same base in a folder or on the hub, or of
 * the one that ships; null where that is another base. @throws UsageError `wrong-base` when `text` names another one.
 */
export async function cardOfBase(
  digest: string,
  text: string | undefined,
  context: CommandContext,
): Promise<Pick<NamedBase, 'name' | 'license'> | null> {
  return withBase(text, context, async ({ base, name, license }) => {
    const found = base.description.digest;
    if (found === digest) return { name, license };
    if (text === undefined) return null;
    throw new UsageError('wrong-base', `--base ${text} has the digest ${found}, the federation trained on ${digest}`);
  });
}

/** What the configuration of a base says that it is called; empty where it says nothing. */
export function nameOf({ configuration }: OpenBase): string {
  const name = configuration._name_or_path;
  return typeof name === 'string' ? name : '';
}
