/** The hub as this system uses it, over the official client, which is an optional package and loaded on demand. */
import { errorMessage, FormatError, TransportError, UsageError } from '../../core/errors.ts';
import type { ListedFile } from './listing.ts';
import { type HubReference, isCommit, writeHubReference } from './reference.ts';

/** Variables of the environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the hub is and who asks. */
export interface HubAccess {
  /** Address without a slash at its end. */
  readonly endpoint: string;
  /** Sent to the hub and to nobody else; never printed. */
  readonly token: string | undefined;
}

/** A repository on the hub. Everything throws as {@link openHub} says. */
export interface Hub {
  /** The commit that a revision is now. */
  commitOf(reference: HubReference): Promise<string>;
  /** Files at the top of a commit. */
  list(reference: HubReference): Promise<readonly ListedFile[]>;
  /** Bytes of a file from `start` on. */
  read(
    reference: HubReference,
    file: { readonly name: string; readonly start: number },
  ): Promise<ReadableStream<Uint8Array>>;
}

/** The line that installs the client. */
export const hubClientInstall = 'npm install @huggingface/hub@2.17.5';
const publicEndpoint = 'https://huggingface.co';

/**
 * Reads `HF_ENDPOINT` and `HF_TOKEN`.
 * @throws UsageError `bad-endpoint`, `bad-token`.
 */
export function hubAccessOf(environment: Environment): HubAccess {
  const text = environment.HF_ENDPOINT || publicEndpoint;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new UsageError('bad-endpoint', 'HF_ENDPOINT must be an address like https://huggingface.co');
  const token = environment.HF_TOKEN || undefined;
  if (token !== undefined && !token.startsWith('hf_'))
    throw new UsageError('bad-token', 'HF_TOKEN does not hold a token of the hub: they begin with hf_');
  const isLoopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (token !== undefined && url.protocol === 'http:' && !isLoopback) {
    throw new UsageError(
      'bad-endpoint',
      `HF_TOKEN would go to ${url.host} unencrypted; use https in HF_ENDPOINT, or unset one of them`,
    );
  }
  return { endpoint: url.href.replace(/\/+$/, ''), token };
}

/**
 * A hub.
 * @param signal ends requests under way.
 * @param load the package; the installed one by default.
 * @throws UsageError `hub-client-missing`; its functions UsageError `hub-refused` or `hub-not-found`, FormatError `hub-answer`,
 * TransportError `hub-unreachable`, and the reason of `signal`.
 */
export async function openHub(
  { endpoint, token }: HubAccess,
  signal: AbortSignal,
  load: () => Promise<typeof import('@huggingface/hub')> = () => import('@huggingface/hub'),
): Promise<Hub> {
  const client = await load().catch((cause: unknown) => {
    throw new UsageError(
      'hub-client-missing',
      `bases on the hub need its client, which does not load (${errorMessage(cause).split('\n')[0]}); install it with: ${hubClientInstall}`,
      { cause },
    );
  });
  const access = {
    hubUrl: endpoint,
    ...(token === undefined ? {} : { accessToken: token }),
    fetch: (input: string | URL | Request, init?: RequestInit) => fetch(input, { ...init, signal }),
  };
  /** Runs a request; what goes wrong is said in terms of the reference. */
  const ask = async <Answer>(reference: HubReference, request: () => Promise<Answer>): Promise<Answer> => {
    try {
      return await request();
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof client.HubApiError) throw refusalOf(thrown.statusCode, reference, endpoint, token);
      if (thrown instanceof client.InvalidApiResponseFormatError)
        throw badAnswer(reference, errorMessage(thrown), thrown);
      throw unreachable(reference, endpoint, thrown);
    }
  };
  return {
    commitOf: async (reference) => {
      const { repository: name, revision } = reference;
      const { sha } = await ask(reference, () =>
        client.modelInfo({ ...access, name, revision, additionalFields: ['sha'] }),
      );
      if (typeof sha === 'string' && isCommit(sha)) return sha;
      throw badAnswer(reference, `expected the commit of ${revision}, found ${JSON.stringify(sha)}`);
    },
    list: (reference) =>
      ask(reference, async () => {
        const { repository: name, revision } = reference;
        const files: ListedFile[] = [];
        for await (const file of client.listFiles({ ...access, repo: { type: 'model', name }, revision }))
          files.push(file);
        return files;
      }),
    read: (reference, { name: path, start }) =>
      ask(reference, async () => {
        const { repository: name, revision } = reference;
        const repo = { type: 'model', name } as const;
        // Plain ranges of the file: they resume anywhere, which the chunked protocol of newer repositories does not need to.
        const blob = await client.downloadFile({ ...access, repo, revision, path, xet: false });
        if (blob === null) throw badAnswer(reference, `it lists ${path} and does not have it`);
        return blob.slice(start, blob.size).stream() as ReadableStream<Uint8Array>;
      }),
  };
}

function refusalOf(status: number, reference: HubReference, endpoint: string, token: string | undefined): Error {
  const name = writeHubReference(reference);
  if (status === 401 || status === 403) {
    const next = token === undefined ? 'set HF_TOKEN to a token that may read it' : 'HF_TOKEN does not open it';
    return new UsageError(
      'hub-refused',
      `${endpoint} refuses ${name} (${status}): the repository is private, gated or not there; accept its terms at ${endpoint}/${reference.repository} if it has any; ${next}`,
    );
  }
  if (status === 404)
    return new UsageError('hub-not-found', `${endpoint} has no ${name}: check owner, name and revision`);
  return new TransportError('hub-unreachable', `${endpoint} answers ${status} for ${name}; try again later`);
}

function badAnswer(reference: HubReference, problem: string, cause?: unknown): FormatError {
  return new FormatError(
    'hub-answer',
    `the hub's answer for ${writeHubReference(reference)} is not usable: ${problem}`,
    {
      cause,
    },
  );
}

function unreachable(reference: HubReference, endpoint: string, thrown: unknown): Error {
  if (thrown instanceof FormatError) return thrown;
  const reason = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  return new TransportError(
    'hub-unreachable',
    `cannot fetch ${writeHubReference(reference)} from ${endpoint}: ${errorMessage(reason)}`,
    { cause: thrown },
  );
}
