/** The commands of whoever runs a federation: `coordinator` and `invite`; `adapters` is a module of its own. */
import type { Command } from 'commander';
import type { CommandContext } from '../shared/command-line/context.ts';
import { registerCoordinator } from './commands/coordinator.ts';
import { registerInvite } from './commands/invite.ts';

/** Adds the commands. */
export function register(program: Command, context: CommandContext): void {
  registerCoordinator(program, context);
  registerInvite(program, context);
}
