/** Replies, and which status an error becomes: what a request got wrong is told whole, what went wrong here is for the log. */
import { errorMessage, FederationError, FormatError, UsageError } from '../../shared/core/errors.ts';

/** What is sent back. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text as it stands; anything else as JSON. */
  readonly body: unknown;
  readonly type?: string;
  /** For the log, where the server is to blame. */
  readonly fault?: string;
}

/** Statuses of codes; other errors of use are 400, all else is 500. */
const statuses: ReadonlyMap<string, number> = new Map([
  ['unauthorised', 401],
  ['wrong-host', 403],
  ['no-such-route', 404],
  ['no-such-adapter', 404],
  ['no-such-version', 404],
  ['wrong-method', 405],
  ['version-replaced', 409],
  ['too-large', 413],
  ['wrong-type', 415],
  ['busy', 429],
  ['client-left', 499],
  ['adapter-unavailable', 503],
  ['shutting-down', 503],
  ['engine-died', 503],
  ['timed-out', 504],
]);

/** The reply to a request that failed. */
export function refusalOf(thrown: unknown): Reply {
  const isKnown = thrown instanceof FederationError;
  const isUse = thrown instanceof UsageError || thrown instanceof FormatError;
  const status = (isKnown ? statuses.get(thrown.code) : undefined) ?? (isUse ? 400 : 500);
  if (!isKnown || status === 500) {
    const body = errorBody('internal', 'something went wrong here; the log of the server says what');
    const fault = thrown instanceof Error ? (thrown.stack ?? thrown.message) : errorMessage(thrown);
    return { status: 500, body, fault };
  }
  const { code, message, context } = thrown;
  const headers = {
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(typeof context.allow === 'string' ? { allow: context.allow } : {}),
    ...(typeof context.retryAfterSeconds === 'number' ? { 'retry-after': `${context.retryAfterSeconds}` } : {}),
  };
  return { status, headers, body: errorBody(code, message) };
}

function errorBody(code: string, message: string) {
  return { error: { code, message } };
}
