/** Names of checkpoints on a hub: `hf:owner/name@revision`. What they may hold is narrow, because they become paths and addresses. */
import { UsageError } from '../../core/errors.ts';

/** A repository on a hub and one of its revisions. */
export interface HubReference {
  /** `owner/name`, or `name` for the oldest repositories. */
  readonly repository: string;
  /** A branch, a tag or a commit; `main` where none was named. */
  readonly revision: string;
}

const scheme = 'hf:';
const part = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$/;
const commit = /^[0-9a-f]{40}$/;

/** Whether a base is named by its place on a hub, in place of a folder. */
export function isHubReference(text: string): boolean {
  return text.startsWith(scheme);
}

/** Whether a revision is a commit: always the same files. */
export function isCommit(revision: string): boolean {
  return commit.test(revision);
}

/** @throws UsageError `bad-base` unless `text` is `hf:owner/name` or `hf:owner/name@revision`. */
export function parseHubReference(text: string): HubReference {
  const [repository = '', revision = 'main', ...rest] = text.slice(scheme.length).split('@');
  const parts = repository.split('/');
  const isRepository = parts.length <= 2 && parts.every(isPart);
  const isRevision = revision.length <= 200 && revision.split('/').every(isPart);
  if (isHubReference(text) && isRepository && isRevision && rest.length === 0) return { repository, revision };
  throw new UsageError(
    'bad-base',
    `expected a base on the hub as hf:owner/name or hf:owner/name@revision, found ${JSON.stringify(text)}`,
  );
}

/** The reference as people write it. */
export function writeHubReference({ repository, revision }: HubReference): string {
  return `${scheme}${repository}@${revision}`;
}

function isPart(text: string): boolean {
  return part.test(text) && !text.includes('..');
}
