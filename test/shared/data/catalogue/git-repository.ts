/** Makes git repositories for tests, with the program that the world uses. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';

/** A repository with one commit of `files`, from which parts may be fetched as from a public server. */
export interface GitRepository {
  readonly folder: string;
  readonly commit: string;
  /** Runs git in it; what it prints. */
  git(...argv: string[]): string;
}

/** Creates one in `folder`. Neither the user's settings nor the time of day are in it. */
export function gitRepository(folder: string, files: Readonly<Record<string, string>>): GitRepository {
  const who = { NAME: 'a', EMAIL: 'a@example.org', DATE: '2020-01-01T00:00:00Z' };
  const people = ['AUTHOR', 'COMMITTER'].flatMap((role) =>
    Object.entries(who).map(([name, value]) => [`GIT_${role}_${name}`, value]),
  );
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: '1',
    ...(Object.fromEntries(people) as Record<string, string>),
  };
  const git = (...argv: string[]): string => execFileSync('git', argv, { cwd: folder, env, encoding: 'utf8' }).trim();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  git('init', '-q');
  git('config', 'uploadpack.allowFilter', 'true');
  git('add', '.');
  git('commit', '-q', '-m', 'all');
  return { folder, git, commit: git('rev-parse', 'HEAD') };
}
