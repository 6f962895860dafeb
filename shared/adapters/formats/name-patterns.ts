/**
 * Regular expressions from foreign files. They are run on paths of modules, so one that takes exponential time would stop whoever reads the
 * file: repeating a group that repeats or chooses is refused. Python's and JavaScript's expressions agree in what such files use.
 */
import { FormatError } from '../../core/errors.ts';
import { shown } from '../../plan/problems.ts';

/** Longest expression: that of a model with every module named is shorter. */
const charactersMax = 10_000;

/** Most repetitions without bound: a path has some sixty characters, and time grows with that power of them. */
const repetitionsMax = 6;

/**
 * The expression `pattern`, in which `written` stands.
 * @throws FormatError `unsupported-adapter` naming `source` when it is none, or may take too long.
 */
export function nameExpression(pattern: string, written: string, source: string): RegExp {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new FormatError('unsupported-adapter', `${source}: ${shown(written)} ${problem}`, { cause });
  };
  if (written.length > charactersMax) return refuse(`is a name of more than ${charactersMax} characters`);
  if (repeatsChoice(written))
    return refuse('repeats a group that repeats or chooses, which may take forever; name the modules in a list');
  const repetitions = written.match(/[+*]|\{\d*,\}/g)?.length ?? 0;
  if (repetitions > repetitionsMax)
    return refuse(`repeats ${repetitions} times without bound, more than ${repetitionsMax} may take forever`);
  try {
    return new RegExp(pattern, 'u');
  } catch (cause) {
    return refuse('must be a regular expression that this version understands', cause);
  }
}

/** Whether a group with a repetition or a choice in it is repeated without bound. */
function repeatsChoice(pattern: string): boolean {
  // For every open group: whether there is a repetition or a choice in it.
  const open: boolean[] = [false];
  const mark = (): void => {
    open[open.length - 1] = true;
  };
  for (let place = 0; place < pattern.length; place++) {
    switch (pattern[place]) {
      case '\\':
        place++;
        break;
      case '[': {
        const end = /[^\\](?:\\\\)*\]/.exec(pattern.slice(place + 1));
        if (end !== null) place += end.index + end[0].length;
        break;
      }
      case '(':
        open.push(false);
        break;
      case ')': {
        const isVaried = open.length > 1 && open.pop() === true;
        if (isVaried && /^(?:[+*]|\{\d*,\})/.test(pattern.slice(place + 1))) return true;
        if (isVaried) mark();
        break;
      }
      case '+':
      case '*':
      case '{':
      case '|':
        mark();
        break;
      default:
    }
  }
  return false;
}
