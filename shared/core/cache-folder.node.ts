/** Where downloads are kept: what lies there can be fetched again, and may be deleted at any time. */
import { homedir, platform } from 'node:os';
import { join, resolve } from 'node:path';

/**
 * The folder for downloads: `TRIBUTARY_CACHE`, else the user's cache folder as the operating system has it. It is not made here.
 * @param environment the variables that count.
 */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>> = process.env): string {
  const chosen = environment.TRIBUTARY_CACHE;
  if (chosen !== undefined && chosen !== '') return resolve(chosen);
  const home = homedir();
  if (platform() === 'darwin') return join(home, 'Library', 'Caches', 'tributary');
  if (platform() === 'win32') {
    return join(environment.LOCALAPPDATA ?? join(home, 'AppData', 'Local'), 'tributary', 'Cache');
  }
  const base = environment.XDG_CACHE_HOME;
  return join(base?.startsWith('/') ? base : join(home, '.cache'), 'tributary');
}
