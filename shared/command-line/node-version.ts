/** Which versions of Node run Tributary. */
import { FederationError } from '../core/errors.ts';

/** Least Node: the first of which strips types and has SQLite without flags. */
const least = [22, 18] as const;

/** The same as text. */
export const nodeLeast = least.join('.');

/** Whether this version of Node runs Tributary: 22.18 and later. */
export function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > least[0] || (major === least[0] && minor >= least[1]);
}

/** Why commands cannot run on this version; null where they can. */
export function refusalOf(version: string): FederationError | null {
  if (isSupported(version)) return null;
  return new FederationError(
    'old-node',
    `Tributary needs Node ${nodeLeast} or later, this is Node ${version}; run the command again with a newer one`,
  );
}
