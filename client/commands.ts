/** The client's commands: `client` and `personalise`. `train` and `evaluate`, which need no federation, are modules of their own. */
import type { Command } from 'commander';
import type { CommandContext } from '../shared/command-line/context.ts';
import { registerClient } from './commands/client.ts';
import { registerPersonalise } from './commands/personalise.ts';

/** Adds the commands. */
export function register(program: Command, context: CommandContext): void {
  registerClient(program, context);
  registerPersonalise(program, context);
}
