/**
 * A client of one federation in one call: opens its durable state, decides with whom it is enrolled, and runs the session to its end. Runs in
 * Node and, with another platform, elsewhere: nothing here uses a global of the engine.
 */
import { fromHex, utf8 } from '../shared/core/bytes.ts';
import { UsageError } from '../shared/core/errors.ts';
import type { ClientId, FederationId } from '../shared/core/ids.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import { fingerprint, identityFromSeed } from '../shared/crypto/identity.ts';
import { deriveKey } from '../shared/crypto/key-derivation.ts';
import type { Policy } from '../shared/plan/policy.ts';
import { defaultPolicy } from '../shared/plan/policy.ts';
import { parseEnrolmentCode } from '../shared/protocol/enrolment-code.ts';
import { nameCharactersMax } from '../shared/protocol/handshake.ts';
import { runSession } from './driver.ts';
import { credentialsOf } from './enrolment.ts';
import type { ClientListener } from './events.ts';
import type { Learner } from './learner.ts';
import type { Credentials, Platform } from './platform/ports.ts';
import { openLedger } from './session/ledger.ts';
import type { FinishReason } from './session/machine.ts';
import { createHandshake } from './transport/handshake.ts';
import type { Traffic } from './transport/link.ts';
import { createLink } from './transport/link.ts';
import { socketTransport } from './transport/socket-transport.ts';
import type { Transport } from './transport/transport.ts';

/** What {@link createClient} needs. */
export interface ClientOptions {
  /** Keys, journal, cache, time and HTTP of the place that the client runs in, for example `nodePlatform(folder)`. */
  readonly platform: Platform;
  /** Trains and evaluates on this site's data. */
  readonly learner: Learner;
  /** What this site agrees to; default {@link defaultPolicy}. */
  readonly policy?: Policy;
  /** Enrolment code; needed once, afterwards the stored credentials count. */
  readonly invite?: string;
  /** Name shown to the coordinator's operator; default `client`. */
  readonly name?: string;
  /** Hears everything that happens. */
  readonly onEvent?: ClientListener;
  /** Another transport than socket.io, for tests and benchmarks. */
  readonly transportOf?: (credentials: Credentials, identity: Identity) => Transport;
}

/** A client of one federation. */
export interface Client {
  readonly clientId: ClientId;
  readonly federationId: FederationId;
  /** Short form of the public key, for checking by telephone. */
  readonly fingerprint: string;
  /** Fingerprint of the consortium that this site pinned, to compare with its administrators; null where the coordinator vouches for clients. */
  readonly consortium: string | null;
  /**
   * Takes part until the federation is finished or `signal` is aborted; to be called once.
   * @throws UsageError when another client runs on the same state; StoreError when what must be durable cannot be written; whatever `onEvent` throws.
   */
  run(signal?: AbortSignal): Promise<FinishReason>;
  /** Bytes of messages so far, both ways. */
  readonly traffic: () => Traffic;
}

/**
 * Makes a client; nothing is sent before `run`.
 * @throws StoreError when the state cannot be read; UsageError without credentials and without a usable invite.
 *
 * @example
 * ```ts
 * const client = await createClient({ platform: await nodePlatform('state'), learner, invite: code });
 * const { kind, detail } = await client.run();
 * ```
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const { platform, learner, policy = defaultPolicy, name = 'client', onEvent = () => undefined } = options;
  if (name.length < 1 || name.length > nameCharactersMax) {
    throw new UsageError('bad-name', `a name has 1 to ${nameCharactersMax} characters, found ${name.length}`);
  }
  const seed = await platform.identitySeed();
  const identity = identityFromSeed(seed);
  const roundingSecret = deriveKey({ secret: seed, salt: new Uint8Array(0), info: utf8('TRIB/rounding-secret') });
  seed.fill(0);
  const { credentials: stored } = await platform.journal.read();
  const code = options.invite === undefined ? null : parseEnrolmentCode(options.invite);
  const credentials = chooseCredentials(stored, code === null ? null : credentialsOf(code, identity));
  const transport =
    options.transportOf?.(credentials, identity) ??
    socketTransport({
      url: credentials.url,
      handshake: createHandshake({ platform, identity, credentials }),
    });
  const link = createLink(transport);
  return {
    clientId: identity.clientId,
    federationId: credentials.federationId,
    fingerprint: fingerprint(identity.publicKey),
    consortium: credentials.consortium === null ? null : fingerprint(fromHex(credentials.consortium)),
    run: async (signal = new AbortController().signal) => {
      const release = await platform.claim();
      try {
        const ledger = await openLedger(platform.journal);
        const redeemed = ledger.credentials !== null;
        const ports = {
          platform,
          learner,
          policy,
          name,
          identity,
          roundingSecret,
          credentials,
          transport,
          link,
          onEvent,
          signal,
        };
        if (redeemed && ledger.credentials.url !== credentials.url) await ledger.enrol(credentials);
        return await runSession({ ...ports, ledger, code: redeemed ? null : code });
      } finally {
        roundingSecret.fill(0);
        release();
      }
    },
    traffic: link.traffic,
  };
}

/** Stored credentials count; an invite may move them to another address of the same coordinator. */
function chooseCredentials(stored: Credentials | null, invited: Credentials | null): Credentials {
  if (stored === null) {
    if (invited !== null) return invited;
    throw new UsageError('not-enrolled', 'this state is not enrolled yet: give the enrolment code of an invite');
  }
  if (invited === null) return stored;
  if (invited.federationId !== stored.federationId || invited.coordinatorKey !== stored.coordinatorKey) {
    throw new UsageError(
      'other-federation',
      `this state is enrolled in federation ${stored.federationId} at ${stored.url}, the invite is for ${invited.federationId}; use another state folder for it`,
    );
  }
  // What was pinned stays: a later code cannot take it away.
  return { ...invited, consortium: stored.consortium };
}
