#!/usr/bin/env node
/**
 * Root of the command `tributary`: which commands there are and where they live. A module is loaded only when one of its commands is used,
 * so that `tributary --help` starts fast. Holds no logic beyond the wiring of the process.
 */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { markLate } from '../core/engine-memory.node.ts';
import { FederationError } from '../core/errors.ts';
import type { Terminal } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { refusalOf } from './node-version.ts';
import { type CommandGroup, runCommandLine } from './program.ts';

/** Every command, in the order of `--help`. */
const groups: readonly CommandGroup[] = [
  {
    commands: { quickstart: 'run a whole federation on this machine and compare it with its baselines' },
    load: () => import('../../simulations/quickstart/commands.ts'),
  },
  {
    commands: {
      coordinator: 'run a federation: offer rounds to clients, aggregate their updates, publish versions',
      invite: 'make a one-time enrolment code for a client',
    },
    load: () => import('../../coordinator/commands.ts'),
  },
  {
    commands: { adapters: 'list, show, export, import, merge, combine and serve adapters' },
    load: () => import('../../coordinator/commands/adapters.ts'),
  },
  {
    commands: { consortium: 'keys, certificates, revocations and plan approvals of a consortium, with files alone' },
    load: () => import('./consortium.node.ts'),
  },
  {
    commands: { quarantine: 'list clients that are set aside, and let them take part again' },
    load: () => import('../../coordinator/commands/quarantine.ts'),
  },
  {
    commands: { privacy: 'show what differential privacy every version promises, and what is spent in total' },
    load: () => import('../../coordinator/commands/privacy.ts'),
  },
  {
    commands: { audit: 'check the log of a coordinator and receipts of clients, replay rounds' },
    load: () => import('../../coordinator/commands/audit.ts'),
  },
  {
    commands: {
      client: 'take part in a federation with the data of this site',
      personalise: 'put what this site kept for itself into an adapter of its federation',
    },
    load: () => import('../../client/commands.ts'),
  },
  {
    commands: { train: 'train an adapter on this machine alone, without a federation' },
    load: () => import('../../client/commands/train.ts'),
  },
  {
    commands: { evaluate: 'measure an adapter on labelled rows' },
    load: () => import('../../client/commands/evaluate.ts'),
  },
  {
    commands: { data: 'list data sets with their licences, fetch them, split files for training and test' },
    load: () => import('./data.node.ts'),
  },
  {
    commands: { generate: 'write text after a prompt with a causal base, alone or with an adapter' },
    load: () => import('../../client/commands/generate.ts'),
  },
  {
    commands: { plan: 'check a federation plan, on its own or against a base model and a policy' },
    load: () => import('./plan.node.ts'),
  },
  {
    commands: { doctor: 'show what this machine can compute with and how to install what is missing' },
    load: () => import('./doctor.node.ts'),
  },
];

const terminal: Terminal = {
  writeOutput: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
  interactive: process.stderr.isTTY === true,
  columns: () => process.stderr.columns ?? 80,
  nowMs: () => performance.now(),
};

/** Version from the package's own description, which lies above the sources and above the built files alike. */
function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
      if (name === 'tributary-fl') return version;
    } catch {
      // Not here: built files lie one folder deeper than the sources.
    }
  }
  return 'unknown';
}

// The reader of a pipe may close it early (`| head`): nobody is left to read, so there is nothing left to do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.done : exitCodes.failed);
});

const interruption = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // The first asks the command to end orderly; whoever asks twice does not want to wait.
    if (interruption.signal.aborted) process.exit(exitCodes.failed);
    interruption.abort(new FederationError('interrupted', 'interrupted'));
  });
}

// Those who serve a federation for long.
if (['coordinator', 'client'].includes(process.argv[2] ?? '')) markLate();
process.exitCode = await runCommandLine({
  groups,
  argv: process.argv.slice(2),
  version: packageVersion(),
  terminal,
  signal: interruption.signal,
  refusal: refusalOf(process.versions.node),
});
