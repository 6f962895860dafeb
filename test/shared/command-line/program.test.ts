import { strict as assert } from 'node:assert';
import type { Command } from 'commander';
import type { CommandContext } from '../../../shared/command-line/context.ts';
import { type CommandGroup, runCommandLine, wantedCommand } from '../../../shared/command-line/program.ts';
import { FederationError, UsageError } from '../../../shared/core/errors.ts';
import { fakeTerminal } from './fake-terminal.ts';

/** Two groups: `greet`, whose action is given, and `count`, whose module says when it is loaded. */
function groupsWith(action: (context: CommandContext, name: string) => unknown) {
  const loaded: string[] = [];
  const groups: CommandGroup[] = [
    {
      commands: { greet: 'say hello' },
      load: async () => {
        loaded.push('greet');
        return {
          register: (program, context) => {
            program
              .command('greet')
              .requiredOption('--name <name>', 'whom')
              .action(async ({ name }: { name: string }) => {
                await action(context, name);
              });
          },
        };
      },
    },
    {
      commands: { count: 'count things', plan: 'check a plan' },
      load: async () => {
        loaded.push('count');
        return {
          register: (program, context) => {
            program.command('count').action(() => context.report(3, 'three'));
            program
              .command('plan')
              .command('check')
              .action(() => context.report('fine', 'fine'));
          },
        };
      },
    },
  ];
  return { groups, loaded };
}

async function run(argv: readonly string[], action: (context: CommandContext, name: string) => unknown = () => {}) {
  const terminal = fakeTerminal();
  const { groups, loaded } = groupsWith(action);
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv, version: '1.2.3', terminal, signal });
  return { code, loaded, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('runCommandLine', () => {
  it('[PGM-1] loads the module of the wanted command only, and none for help', async () => {
    assert.deepEqual((await run(['greet', '--name', 'Ada'])).loaded, ['greet']);
    assert.deepEqual((await run(['--json', 'plan', 'check'])).loaded, ['count']);
    const help = await run(['--help']);
    assert.deepEqual([help.code, help.loaded], [0, []]);
    assert.match(help.output, /greet +say hello[\s\S]*count +count things[\s\S]*Exit codes: 0 done/);
  });

  it('[PGM-2] runs the command, and its result alone is on standard output', async () => {
    const people = await run(['greet', '--name', 'Ada'], (context, name) => {
      context.log('thinking');
      context.report({ name }, `hello ${name}`);
    });
    assert.deepEqual([people.code, people.output, people.errors], [0, 'hello Ada\n', 'thinking\n']);
    const machine = await run(['greet', '--name', 'Ada', '--json'], (context, name) => context.report({ name }, name));
    assert.deepEqual(JSON.parse(machine.output), { name: 'Ada' });
  });

  it('[PGM-3] turns a failure into its code and message, and with --json into one document', async () => {
    const fail = () => {
      throw new UsageError('bad-name', 'the name is wrong');
    };
    const people = await run(['greet', '--name', 'Ada'], fail);
    assert.deepEqual([people.code, people.output, people.errors], [2, '', 'tributary: the name is wrong\n']);
    const machine = await run(['greet', '--name', 'Ada', '--json'], fail);
    assert.equal(machine.code, 2);
    assert.deepEqual(JSON.parse(machine.output), { error: { code: 'bad-name', message: 'the name is wrong' } });
    const other = await run(['greet', '--name', 'Ada'], () => Promise.reject(new Error('no luck')));
    assert.equal(other.code, 1);
  });

  it('[PGM-4] prints no second document when a command fails after its result', async () => {
    const { code, output } = await run(['greet', '--name', 'Ada', '--json'], (context) => {
      context.report({ done: true }, 'done');
      throw new Error('cleaning up failed');
    });
    assert.equal(code, 1);
    assert.deepEqual(JSON.parse(output), { done: true });
  });

  it('[PGM-5] calls unknown commands, unknown options and missing ones wrong use', async () => {
    for (const argv of [['gret'], ['greet', '--nam', 'x'], ['greet'], ['plan', 'chek'], []]) {
      const { code, output, errors } = await run(argv);
      assert.equal(code, 2, argv.join(' '));
      assert.equal(output, '', argv.join(' '));
      assert.notEqual(errors, '', argv.join(' '));
    }
    assert.match((await run(['gret'])).errors, /unknown command 'gret'[\s\S]*greet/);
    assert.match((await run(['greet'])).errors, /--name/);
    assert.equal(
      JSON.parse((await run(['greet', '--json'])).output).error.code,
      'command-line-missing-mandatory-option-value',
    );
  });

  it('[PGM-6] shows the version', async () => {
    const { code, output } = await run(['--version']);
    assert.deepEqual([code, output], [0, '1.2.3\n']);
  });

  it('[PGM-9] runs no command but the doctor where it cannot, and shows help all the same', async () => {
    const terminal = fakeTerminal();
    const register = (program: Command, context: CommandContext): void =>
      void program.command('doctor').action(() => context.report(1, 'one'));
    const groups = [
      ...groupsWith(() => undefined).groups,
      { commands: { doctor: 'look' }, load: async () => ({ register }) },
    ];
    const { signal } = new AbortController();
    const refusal = new FederationError('old-node', 'too old');
    const codeOf = (...argv: string[]) => runCommandLine({ groups, argv, version: '1', terminal, signal, refusal });
    assert.deepEqual([await codeOf('greet', '--name', 'Ada'), terminal.errors], [1, ['tributary: too old\n']]);
    assert.deepEqual([await codeOf('doctor'), await codeOf('--help'), await codeOf('gret')], [0, 0, 2]);
  });

  it('[PGM-7] shows the help of a command through both ways of asking', async () => {
    for (const argv of [
      ['greet', '--help'],
      ['help', 'greet'],
    ]) {
      const { code, output } = await run(argv);
      assert.equal(code, 0, argv.join(' '));
      assert.match(output, /Usage: tributary greet[\s\S]*--name <name>[\s\S]*--json/, argv.join(' '));
    }
  });
});

describe('help of a subcommand', () => {
  it('[PGM-12] shows its own options and those of the program, none of the command above it', async () => {
    const terminal = fakeTerminal();
    const register = (program: Command): void => {
      const greet = program.command('greet').option('--name <name>', 'whom');
      greet.command('loudly').option('--volume <number>', 'how loud');
    };
    const groups = [{ commands: { greet: 'say hello' }, load: async () => ({ register }) }];
    const { signal } = new AbortController();
    const argv = ['greet', 'loudly', '--help'];
    assert.equal(await runCommandLine({ groups, argv, version: '1', terminal, signal }), 0);
    const output = terminal.output.join('');
    assert.match(output, /--volume <number>[\s\S]*Global Options:[\s\S]*--json/);
    assert.doesNotMatch(output, /--name/);
  });
});

describe('wantedCommand', () => {
  it('[PGM-8] is the first argument that is no option, or what follows help', () => {
    assert.equal(wantedCommand(['--json', 'train', '--out', 'x']), 'train');
    assert.equal(wantedCommand(['help', 'train']), 'train');
    assert.equal(wantedCommand(['help']), undefined);
    assert.equal(wantedCommand([]), undefined);
  });
});
