/** A masked round where neither Node's cryptography nor Web Cryptography is there, as on a page of a plain address. Prints a hash of all that was said. */
import process from 'node:process';

Object.defineProperty(process, 'getBuiltinModule', { value: undefined });
Object.defineProperty(globalThis, 'crypto', {
  value: { getRandomValues: globalThis.crypto.getRandomValues.bind(globalThis.crypto) },
});
const { engineCrypto } = await import('../../../shared/crypto/engine.ts');
if (engineCrypto !== null) throw new Error('the engine is still there');
const { said } = await import('./said.ts');
process.stdout.write(said());
