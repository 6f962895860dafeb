/**
 * A thread that asks for back ends where packages stand that are not what their names say. Gets the packages' files by name, and the names to
 * ask for, one after the other; answers with one outcome each.
 */
import { registerHooks } from 'node:module';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { BackendName } from '../../../shared/compute/backend-names.ts';
import { errorMessage } from '../../../shared/core/errors.ts';

const [packages, names] = workerData as [Readonly<Record<string, string>>, readonly (BackendName | 'auto')[]];
registerHooks({
  resolve: (specifier, context, next) => {
    const path = packages[specifier];
    return path === undefined ? next(specifier, context) : { url: pathToFileURL(path).href, shortCircuit: true };
  },
});

// What Node 23 removed is absent here whatever the version.
const utilities = process.getBuiltinModule('node:util') as unknown as Record<string, unknown>;
delete utilities.isNullOrUndefined;

const { useBackend } = await import('../../../shared/compute/backend.ts');
const outcomes: unknown[] = [];
for (const name of names) {
  try {
    outcomes.push(await useBackend(name));
  } catch (thrown) {
    outcomes.push(errorMessage(thrown));
  }
}
parentPort!.postMessage(outcomes);
