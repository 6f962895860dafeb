/** The client's command: `client`. `train` and `evaluate`, which need no federation, are modules of their own. */
import type { Command } from 'commander';
import type { CommandContext } from '../shared/command-line/context.ts';
import { registerClient } from './commands/client.ts';

/** Adds the command. */
export function register(program: Command, context: CommandContext): void {
  registerClient(program, context);
}
