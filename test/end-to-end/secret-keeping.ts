/** Federations that are overheard: what clients draw and derive that nobody else may know, what goes over the wire, and what a coordinator leaves behind. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Platform } from '../../client/platform/ports.ts';
import { agree, agreementPublicKey } from '../../shared/crypto/key-agreement.ts';
import { splitSecret } from '../../shared/crypto/secret-sharing.ts';
import { decodeMessage } from '../../shared/protocol/codec.ts';
import { type PlainCall, plainCalls } from '../../shared/protocol/messages.ts';
import { maskHere } from '../../shared/secure-aggregation/mask-work.ts';
import { secretBytes } from '../../shared/secure-aggregation/messages.ts';
import type { World } from '../coordinator/harness.ts';
import type { Secret } from './secret-search.ts';

/** A client's surroundings, and what of it is secret. */
export interface OverheardPlatform<Of extends Platform> {
  readonly platform: Of;
  /** Everything that was drawn, in order. */
  readonly drawn: readonly Uint8Array[];
  /** Both keys of every mask that was added. */
  readonly maskKeys: readonly Uint8Array[];
}

/** Keeps copies of what a client draws and masks with. */
export function overhear<Of extends Platform>(platform: Of): OverheardPlatform<Of> {
  const drawn: Uint8Array[] = [];
  const maskKeys: Uint8Array[] = [];
  const bytes = (count: number): Uint8Array => {
    const given = platform.entropy.bytes(count);
    drawn.push(given.slice());
    return given;
  };
  const maskWork: Platform['maskWork'] = {
    ...maskHere,
    apply: (vector, masks, suite) => {
      const all = [...masks];
      for (const { seed } of all) maskKeys.push(seed.coordinates.slice(), seed.tail.slice());
      return maskHere.apply(vector, all, suite);
    },
  };
  return { platform: { ...platform, entropy: { bytes }, maskWork }, drawn, maskKeys };
}

/** The secrets of one attempt of one client. */
export interface AttemptSecrets {
  readonly box: Uint8Array;
  readonly mask: Uint8Array;
  readonly self: Uint8Array;
  /** Shares of both, the first for place 0. */
  readonly maskShares: readonly Uint8Array[];
  readonly selfShares: readonly Uint8Array[];
}

/** Finds in what a client drew the secrets of its attempts: two keys that it announced, a seed, and the polynomials of their shares. */
export function attemptsIn(
  drawn: readonly Uint8Array[],
  isAnnounced: (publicKey: Uint8Array) => boolean,
  shareCount: number,
) {
  const attempts: AttemptSecrets[] = [];
  const isKey = (bytes: Uint8Array | undefined): boolean =>
    bytes?.length === secretBytes && isAnnounced(agreementPublicKey(bytes));
  for (const [index, box] of drawn.entries()) {
    const [mask, self] = drawn.slice(index + 1);
    if (!isKey(box) || !isKey(mask)) continue;
    const [first, second] = drawn
      .slice(index + 3)
      .filter(({ length }) => length > secretBytes && length % secretBytes === 0);
    const sharesOf = (secret: Uint8Array, coefficients: Uint8Array | undefined): Uint8Array[] => {
      if (coefficients === undefined) return [];
      const threshold = coefficients.length / secretBytes + 1;
      return splitSecret(secret, { shareCount, threshold }, { bytes: () => coefficients.slice() });
    };
    attempts.push({
      box,
      mask: mask!,
      self: self!,
      maskShares: sharesOf(mask!, first),
      selfShares: sharesOf(self!, second),
    });
  }
  return attempts;
}

/** What every pair of secrets agrees on. */
export function agreementsOf(name: string, secrets: readonly Uint8Array[]): Secret[] {
  const keys = secrets.map((secret) => agreementPublicKey(secret));
  return secrets.flatMap((secret, one) =>
    keys.slice(one + 1).map((key, other) => {
      return { name: `${name} of ${one} and ${one + 1 + other}`, bytes: agree(secret, key)! };
    }),
  );
}

/** The masked call in the body of a call, if it is one. */
export function maskedCall(name: string, body: Uint8Array): PlainCall<'masked'> | null {
  const said = name === 'masked' ? decodeMessage(plainCalls.masked, body) : null;
  return said?.ok === true ? said.value : null;
}

/** The world as overheard clients see it: everything that both sides say after enrolment, the codes of its invites, and calls that get lost. */
export function wiretap(world: World, isLost: (call: PlainCall<'masked'>) => boolean) {
  const said: Uint8Array[] = [];
  const calls: PlainCall<'masked'>[] = [];
  const codes: string[] = [];
  const answered: string[] = [];
  const hear = (body: Uint8Array | null | undefined): void => {
    if (body != null) said.push(body.slice());
  };
  const connect: World['transport']['connect'] = async (auth, listener, onClosed) => {
    hear(new TextEncoder().encode(JSON.stringify(auth)));
    const opened = await world.transport.connect(
      auth,
      (event, body) => {
        hear(body);
        listener(event, body);
      },
      onClosed,
    );
    if (!opened.ok) return opened;
    const call: typeof opened.value.call = async (name, body, attachment) => {
      hear(body);
      hear(attachment);
      const masked = maskedCall(name, body);
      if (masked !== null) calls.push(masked);
      if (masked !== null && isLost(masked)) return new Promise<never>(() => undefined);
      const answer = await opened.value.call(name, body, attachment);
      answered.push(name);
      hear(answer.body);
      hear(answer.attachment);
      return answer;
    };
    return { ok: true, value: { ...opened.value, call } };
  };
  const invite: World['coordinator']['invite'] = async (request) => {
    const code = await world.coordinator.invite(request);
    codes.push(code);
    return code;
  };
  const seen = { ...world, transport: { ...world.transport, connect }, coordinator: { ...world.coordinator, invite } };
  return { world: seen, said, calls, codes, answered };
}

/** Every file below a folder, by its path from there. */
export function filesOf(folder: string): Map<string, Uint8Array> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [relative(folder, path), readFileSync(path)];
    }),
  );
}

/** Every row of every table, as text and bytes: in a file, a long value is cut into pages. */
export function tablesOf(path: string): Map<string, Uint8Array[]> {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[];
    return new Map(
      names.map(({ name }) => {
        const values = database
          .prepare(`SELECT * FROM "${name}"`)
          .all()
          .flatMap((row) => Object.values(row));
        return [name, values.map((value) => (value instanceof Uint8Array ? value : Buffer.from(String(value))))];
      }),
    );
  } finally {
    database.close();
  }
}
