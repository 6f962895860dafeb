/** The flags of the comparisons of methods. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';

/** Environment variable with the folder of the data. */
const dataVariable = 'TRIBUTARY_DATA';

/** Values of flags as given; what is absent was not. */
export type Flags<Name extends string> = Readonly<Partial<Record<Name, string>>>;

/** Reads flags, all of which take a value but `switches`. @throws UsageError `unknown-flag`. */
export function readFlags<const Name extends string, const Switch extends string>(
  args: readonly string[],
  names: readonly Name[],
  switches: readonly Switch[],
): { readonly flags: Flags<Name>; readonly isOn: (name: Switch) => boolean } {
  const options = {
    ...Object.fromEntries(names.map((name) => [name, { type: 'string' } as const])),
    ...Object.fromEntries(switches.map((name) => [name, { type: 'boolean' } as const])),
  };
  try {
    const { values } = parseArgs({ args: [...args], options });
    return { flags: values as Flags<Name>, isOn: (name) => values[name] === true };
  } catch (cause) {
    throw new UsageError('unknown-flag', errorMessage(cause), { cause });
  }
}

/** A whole number of at least 1, or the default. @throws UsageError `bad-number`. */
export function wholeFlag(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new UsageError('bad-number', `--${name}: expected a whole number of at least 1, found ${text}`);
}

/** Names from a list, separated by commas, or all. @throws UsageError `unknown-name`. */
export function namesFlag<Name extends string>(flag: string, text: string | undefined, known: readonly Name[]): Name[] {
  const asked = text?.split(',') ?? known;
  const unknown = asked.find((name) => !known.some((one) => one === name));
  if (unknown === undefined) return known.filter((name) => asked.includes(name));
  throw new UsageError(
    'unknown-name',
    `--${flag}: expected some of ${known.join(', ')}, found ${JSON.stringify(unknown)}`,
  );
}

/** The folder of the data: the flag's, the environment's, or that beside the checkout. */
export function dataFolder(
  flag: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  return flag ?? environment[dataVariable] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
}
