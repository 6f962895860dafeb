/** The project's own source files with what they import and export, read as text: enough for rules about structure. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

/** Root of the project. */
export const root = resolve(import.meta.dirname, '..', '..');

/** One source file; paths are relative to the root, with forward slashes. */
export interface Source {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  readonly imports: readonly Import[];
}

/** One import: a path within the project, or the name of a package or of a Node module. */
export interface Import {
  readonly target: string;
  readonly isPackage: boolean;
  readonly isDynamic: boolean;
}

const skipped = new Set(['node_modules', 'dist', '.git', 'fixtures', 'pretrained', 'quickstart-output']);

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (skipped.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return walk(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

const toProjectPath = (path: string): string => relative(root, path).split(sep).join('/');

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^'"`;]*?from\s+['"]([^'"]+)['"]|(?:^|\n)\s*import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

function importsOf(path: string, text: string): Import[] {
  return [...text.matchAll(importPattern)].map(([, from, bare, dynamic]) => {
    const specifier = (from ?? bare ?? dynamic)!;
    const isPackage = !specifier.startsWith('.');
    const target = isPackage ? packageOf(specifier) : toProjectPath(resolve(dirname(join(root, path)), specifier));
    return { target, isPackage, isDynamic: dynamic !== undefined };
  });
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Every source file below the given top folders. */
export function readSources(...folders: readonly string[]): Source[] {
  return folders
    .flatMap((folder) => walk(join(root, folder)))
    .map((file) => {
      const path = toProjectPath(file);
      const text = readFileSync(file, 'utf8');
      return { path, text, lines: text.split('\n'), imports: importsOf(path, text) };
    });
}

/** The folder of a path down to `depth` parts. */
export function folderOf(path: string, depth: number): string {
  return path.split('/').slice(0, depth).join('/');
}
