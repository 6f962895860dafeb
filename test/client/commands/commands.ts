/** Runs `train` and `evaluate` in this process, as the root of the command line does. */
import { register as registerEvaluate } from '../../../client/commands/evaluate.ts';
import { register as registerTrain } from '../../../client/commands/train.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

/** How a command ended and what it wrote. */
export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Runs one command to its end. */
export async function run(argv: readonly string[], signal = new AbortController().signal): Promise<Ended> {
  const terminal = fakeTerminal();
  const groups = [
    { commands: { train: 'train' }, load: async () => ({ register: registerTrain }) },
    { commands: { evaluate: 'evaluate' }, load: async () => ({ register: registerEvaluate }) },
  ];
  const code = await runCommandLine({ groups, argv, version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}
