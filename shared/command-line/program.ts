/**
 * From arguments to an exit code: builds the tree of commands from a table, loads the one module that is asked for, runs it, and turns
 * what it throws into a message and a code. Holds no command.
 */
import { Command } from 'commander';
import { assert } from '../core/assert.ts';
import type { CommandContext, CommandModule, Terminal } from './context.ts';
import { createContext } from './context.ts';
import type { ExitCode } from './exit-codes.ts';
import { errorDocument, exitCodeOf, exitCodes, explain } from './exit-codes.ts';

/** Commands that live in one module. Names and descriptions stand here, so that `--help` loads none of them. */
export interface CommandGroup {
  /** Description by name of each top-level command that the module registers: these, no other. */
  readonly commands: Readonly<Record<string, string>>;
  /** Imports the module. */
  load(): Promise<CommandModule>;
}

/** What {@link runCommandLine} needs. */
export interface CommandLineOptions {
  readonly groups: readonly CommandGroup[];
  /** Arguments after the name of the program. */
  readonly argv: readonly string[];
  readonly version: string;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  /** Why no command but `doctor` can run here; null where all can, the default. */
  readonly refusal?: Error | null;
}

const epilogue = `
Exit codes: 0 done, 1 failed, 2 wrong use. Results go to standard output, everything else to standard error.
Try "tributary quickstart": a whole federation on this machine.`;

/** Runs one command to its end. Never throws: what goes wrong is on standard error and in the code. */
export async function runCommandLine({
  groups,
  argv,
  version,
  terminal,
  signal,
  refusal = null,
}: CommandLineOptions): Promise<ExitCode> {
  // Both options are switches that mean the same everywhere, so they are known before a failing parse would have to tell.
  const json = argv.includes('--json');
  const verbose = argv.includes('--verbose');
  const context = createContext({ terminal, json, verbose, signal });
  try {
    const wanted = wantedCommand(argv);
    const isDeclared = groups.some(({ commands }) => wanted !== undefined && Object.hasOwn(commands, wanted));
    if (refusal !== null && isDeclared && wanted !== 'doctor') throw refusal;
    const program = await buildProgram({ groups, wanted, version, terminal, context });
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync(argv, { from: 'user' });
    return exitCodes.done;
  } catch (thrown) {
    const code = exitCodeOf(thrown);
    if (code === exitCodes.done) return code;
    terminal.writeError(explain(thrown, verbose));
    if (json && !context.reported()) terminal.writeOutput(`${JSON.stringify(errorDocument(thrown))}\n`);
    return code;
  }
}

/** The command that the arguments ask for: the first that is no option, or what follows `help`. */
export function wantedCommand(argv: readonly string[]): string | undefined {
  const [first, second] = argv.filter((argument) => !argument.startsWith('-'));
  return first === 'help' ? second : first;
}

interface BuildOptions {
  readonly groups: readonly CommandGroup[];
  readonly wanted: string | undefined;
  readonly version: string;
  readonly terminal: Terminal;
  readonly context: CommandContext;
}

async function buildProgram({ groups, wanted, version, terminal, context }: BuildOptions): Promise<Command> {
  const program = new Command('tributary');
  program
    .description('Federated adapter learning: sites train one adapter together, and their data stays where it is.')
    .version(version, '--version', 'show the version')
    .helpOption('--help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .option('--json', 'print the result as one JSON document')
    .option('--verbose', 'show where errors come from')
    // Of the options above a command only those of the program: what `client` takes says nothing to `client withdraw`.
    .configureHelp({ showGlobalOptions: true, visibleGlobalOptions: () => [...program.options] })
    .addHelpText('after', epilogue)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.writeOutput(text),
      writeErr: (text) => terminal.writeError(text),
    });
  for (const { commands, load } of groups) {
    if (wanted !== undefined && Object.hasOwn(commands, wanted)) (await load()).register(program, context);
    else for (const name of Object.keys(commands)) program.command(name);
    for (const [name, description] of Object.entries(commands)) describeCommand(program, name, description);
  }
  const declared = groups.flatMap(({ commands }) => Object.keys(commands));
  for (const command of program.commands) {
    assert(declared.includes(command.name()), `the command ${command.name()} is registered but not declared`);
  }
  return program;
}

/** Gives a registered command the table's description, and its subcommands the program's way to print and to end. */
function describeCommand(program: Command, name: string, description: string): void {
  const command = program.commands.find((candidate) => candidate.name() === name);
  assert(command !== undefined, `the command ${name} is declared but its module did not register it`);
  command.description(description);
  const inherit = (parent: Command): void => {
    for (const child of parent.commands) {
      child.copyInheritedSettings(parent);
      inherit(child);
    }
  };
  command.copyInheritedSettings(program);
  inherit(command);
}
