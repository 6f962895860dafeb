/**
 * The named tests of the security specification, section 6, and where each stands. `node test/house-rules/named-tests.ts` prints the table.
 */
import process from 'node:process';
import { readSources, type Source } from './sources.ts';

/** Names by their number in the specification. */
export const namedTests: Readonly<Record<number, readonly string[]>> = {
  1: ['kat-ed25519-rfc8032'],
  2: ['kat-x25519-rfc7748'],
  3: ['kat-nacl-box'],
  4: ['kat-chacha20'],
  5: ['kat-aes256ctr'],
  6: ['kat-hkdf-rfc5869'],
  7: ['kat-shamir'],
  8: ['kat-roundhash'],
  9: ['kat-masked-vector'],
  10: ['masks-cancel-any-dropout'],
  11: ['below-threshold-aborts'],
  12: ['t-1-shares-independent'],
  13: ['weighted-mean-accuracy'],
  14: ['overflow-boundary'],
  15: ['stochastic-rounding-unbiased'],
  16: ['sparse-connectivity'],
  17: ['single-mask-uniform'],
  18: ['both-secrets-request'],
  19: ['split-view-survivors'],
  20: ['quorum-forgery'],
  21: ['key-substitution'],
  22: ['uncertified-sybil', 'revoked-member', 'expired-cert'],
  23: ['model-inconsistency'],
  24: ['tiny-cohort'],
  25: ['round-replay'],
  26: ['retry-differencing'],
  27: ['share-misrouting'],
  28: ['low-order-x25519'],
  29: ['late-input-after-recovery'],
  30: ['aggregate-tamper'],
  31: ['log-fork'],
  32: ['nan-inf-delta'],
  33: ['wrong-length'],
  34: ['oversize-payload'],
  35: ['bad-share-dealer'],
  36: ['bad-share-responder'],
  37: ['ring-overflow-attack'],
  38: ['scale-100x'],
  39: ['double-submit-conflict', 'identical-resubmit'],
  40: ['impersonation'],
  41: ['stale-timestamp', 'seq-rollback', 'nonce-reuse'],
  42: ['equivocating-choice', 'in-degree flood'],
  43: ['attack-suite'],
  44: ['backdoor-canary'],
  45: ['msgpack-fuzz'],
  46: ['buffer-aliasing'],
  47: ['socketio-malformed', 'attachment-flood'],
  48: ['handshake-relay'],
  49: ['chunk-resume'],
  50: ['slowloris-client', 'rate-limit', 'memory-cap'],
  51: ['timing-token-compare', 'invite reuse/expired/other org'],
  52: ['kill-9-server-at-every-await'],
  53: ['torn-write', 'disk-full', 'clock-skew', 'backward clock'],
  54: ['client-crash each state'],
  55: ['network-partition'],
  56: ['log-secrecy'],
  57: ['accountant-vectors'],
  58: ['accountant-monotone'],
  59: ['budget-stop'],
  60: ['skellam-sampler'],
  61: ['adaptive-clip-tracks-quantile'],
  62: ['clip-sensitivity'],
  63: ['browser-node-mixed round'],
  64: ['no-webcrypto'],
  65: ['endianness guard'],
};

/** Names that no title of a test has, and why. */
export const withoutTest: Readonly<Record<string, string>> = {
  'sparse-connectivity': 'there is no sparse mode: rosters above 128 clients are divided into groups',
  'equivocating-choice': 'there is no sparse mode, so that no client chooses neighbours',
  'in-degree flood': 'there is no sparse mode, so that no client chooses neighbours',
  'browser-node-mixed round':
    'needs a browser: `npm run test:browser` runs test/browser/federation.ts in Chromium; Firefox and WebKit are not tried',
};

let sources: readonly Source[] | null = null;

/** Where the titles of tests, or of rows of a table of tests, hold a name. */
export function placesOf(name: string): string[] {
  const escaped = name.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
  const title = new RegExp(String.raw`\b(?:it|describe|test)\(.*(?<![\w-])${escaped}(?![\w-])`);
  // A row begins with its title, alone or before a colon with what is special about it.
  const row = new RegExp(String.raw`^\s*\[?(?:name: )?['"\`](?:\[[^\]]*\] )?${escaped}(?:: [^'"\`]*)?['"\`],`);
  sources ??= readSources('test').filter(({ path }) => !path.startsWith('test/house-rules/'));
  return sources
    .filter(({ text }) => text.includes(name))
    .flatMap(({ path, lines }) =>
      lines.flatMap((line, index) => (title.test(line) || row.test(line) ? [`${path}:${index + 1}`] : [])),
    );
}

if (process.argv[1] === import.meta.filename)
  for (const [number, names] of Object.entries(namedTests))
    for (const name of names) {
      const places = placesOf(name);
      const where = places.length > 0 ? places.join(', ') : (withoutTest[name] ?? 'MISSING');
      process.stdout.write(`${number}\t${name}\t${where}\n`);
    }
