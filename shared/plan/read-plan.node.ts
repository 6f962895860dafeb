/** Plans and policies from files: YAML (`.yaml`, `.yml`) or JSON (`.json`). */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { parseDocument } from 'yaml';
import { errorMessage, UsageError } from '../core/errors.ts';
import { type Plan, parsePlan } from './plan.ts';
import { type Policy, parsePolicy } from './policy.ts';

/** Bytes of a plan or policy: with 2^14 long labels a plan stays below; more is a wrong file. */
const fileBytesMax = 4 * 1024 * 1024;

/** Reads and checks a plan. @throws UsageError when it cannot be read, parsed, or is no correct plan. */
export async function readPlan(path: string): Promise<Plan> {
  return parsePlan(await readDocument(path, 'plan'), path);
}

/** Reads and checks a site's policy. @throws UsageError when it cannot be read, parsed, or is no correct policy. */
export async function readPolicy(path: string): Promise<Policy> {
  return parsePolicy(await readDocument(path, 'policy'), path);
}

async function readDocument(path: string, what: string): Promise<unknown> {
  const extension = extname(path).toLowerCase();
  if (!['.yaml', '.yml', '.json'].includes(extension)) {
    throw new UsageError('unknown-format', `${path}: a ${what} ends in .yaml, .yml or .json, found "${extension}"`);
  }
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `${path}: the ${what} cannot be read: ${errorMessage(cause)}`, { cause });
  });
  if (text.length > fileBytesMax) {
    throw new UsageError(
      'file-too-large',
      `${path}: a ${what} has at most ${fileBytesMax} characters, found ${text.length}`,
    );
  }
  return parseText(text.replace(/^\ufeff/, ''), path, extension === '.json');
}

/**
 * JSON is YAML too, so one parser finds duplicate keys and line numbers in both; `JSON.parse` then refuses in a `.json` file what only YAML allows.
 */
function parseText(text: string, path: string, strictJson: boolean): unknown {
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true, stringKeys: true });
  const [fault] = [...document.errors, ...document.warnings];
  if (fault !== undefined) {
    const place = fault.linePos === undefined ? '' : `:${fault.linePos[0].line}:${fault.linePos[0].col}`;
    const reason = fault.message.split(' at line ')[0];
    throw new UsageError('bad-syntax', `${path}${place}: ${reason}`, { cause: fault });
  }
  try {
    return strictJson ? JSON.parse(text) : document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new UsageError('bad-syntax', `${path}: ${errorMessage(cause)}`, { cause });
  }
}
