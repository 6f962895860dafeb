/** The commands of whoever runs a federation: `coordinator`, `invite`, `quarantine` and `privacy`; `adapters` is a module of its own. */
import type { Command } from 'commander';
import type { CommandContext } from '../shared/command-line/context.ts';
import { registerCoordinator } from './commands/coordinator.ts';
import { registerInvite } from './commands/invite.ts';
import { registerPrivacy } from './commands/privacy.ts';
import { registerQuarantine } from './commands/quarantine.ts';

/** Adds the commands. */
export function register(program: Command, context: CommandContext): void {
  registerCoordinator(program, context);
  registerInvite(program, context);
  registerQuarantine(program, context);
  registerPrivacy(program, context);
}
