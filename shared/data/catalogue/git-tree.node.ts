/**
 * The object ids of all files of a commit, proven by the commit's own id: fetches the commit and its trees, without the files, in git's protocol
 * (gitprotocol-v2) and counts every id anew. A commit id is a hash of the tree's id, a tree's id one of the ids in it, so that whoever
 * knows the commit needs to trust no server. As strong as SHA-1, which is as strong as git.
 */
import { errorMessage, FormatError, TransportError } from '../../core/errors.ts';
import { badObjects, type GitObject, hex, idBytes, latin1, objectsOf, packBytesMax } from './git-pack.node.ts';

/** Answers of servers that do not have git's protocol there; any other failure may pass, and is none to be content with. */
const withoutProtocol: readonly number[] = [403, 404, 405, 501];

/** The files of a commit. */
export interface CommitFiles {
  /** The object id of a file; null when the commit has no file there. */
  idOf(path: string): string | null;
  /** Paths of all files, in the order of the trees. */
  paths(): Iterable<string>;
}

/** What {@link fetchCommitFiles} needs. */
export interface GitFetchOptions {
  /** Address of the repository, without `/git-upload-pack`. */
  readonly url: string;
  /** 40 hex digits. */
  readonly commit: string;
  readonly signal: AbortSignal;
}

/**
 * The ids of the files of a commit; null when the server does not speak git's protocol.
 * @throws TransportError when the connection fails; FormatError `bad-git-objects` when what comes does not prove the commit.
 */
export async function fetchCommitFiles({ url, commit, signal }: GitFetchOptions): Promise<CommitFiles | null> {
  let response: Response;
  let body: Uint8Array;
  try {
    response = await fetch(`${url}/git-upload-pack`, {
      method: 'POST',
      signal,
      headers: {
        'content-type': 'application/x-git-upload-pack-request',
        accept: 'application/x-git-upload-pack-result',
        'git-protocol': 'version=2',
      },
      body: requestFor(commit),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      if (withoutProtocol.includes(response.status)) return null;
      throw new Error(`the server answers ${response.status}`);
    }
    body = await bodyOf(response, url);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof FormatError) throw cause;
    throw new TransportError('download-failed', `cannot fetch ${url}: ${errorMessage(cause)}`, { cause });
  }
  return filesOf(objectsOf(packOf(body)), commit);
}

async function bodyOf(response: Response, url: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > packBytesMax) throw badObjects(`expected at most ${packBytesMax} bytes from ${url}, found more`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** One commit, without history and without files. No offsets as delta bases are offered, so that bases come by id. */
function requestFor(commit: string): string {
  const line = (text: string): string => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`;
  const options = ['no-progress', 'filter blob:none', 'deepen 1', `want ${commit}`, 'done'];
  return `${line('command=fetch')}0001${options.map(line).join('')}0000`;
}

/** The pack within the answer, whose lines after "packfile" carry a channel number: 1 the pack, 2 progress, 3 a failure. */
function packOf(answer: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  let isPack = false;
  for (let at = 0; at + 4 <= answer.length; ) {
    const length = Number.parseInt(latin1(answer.subarray(at, at + 4)), 16);
    if (!(length >= 0) || at + length > answer.length) throw badObjects('a line of the answer is cut');
    const line = answer.subarray(at + 4, at + Math.max(4, length));
    at += Math.max(4, length);
    const text = latin1(line.subarray(0, 200)).trimEnd();
    if (!isPack && text.startsWith('ERR ')) throw badObjects(`the server says: ${text.slice(4)}`);
    if (isPack && line[0] === 3) throw badObjects(`the server says: ${text.slice(1)}`);
    if (isPack && line[0] === 1) parts.push(line.subarray(1));
    isPack ||= text === 'packfile';
  }
  if (parts.length === 0) throw badObjects('the answer holds no pack');
  return Buffer.concat(parts);
}

/** Walks from the commit to a file. Every step is by an id that was counted, so a path leads to the file that the commit means or nowhere. */
function filesOf(objects: ReadonlyMap<string, GitObject>, commit: string): CommitFiles {
  const found = objects.get(commit);
  if (found?.type !== 'commit') throw badObjects(`the server did not send the commit ${commit}`);
  const root = /^tree ([0-9a-f]{40})\n/.exec(latin1(found.bytes.subarray(0, 100)))?.[1];
  if (root === undefined) throw badObjects('the commit names no tree');
  const trees = new Map<string, ReadonlyMap<string, string>>();
  const treeOf = (id: string): ReadonlyMap<string, string> => {
    const known = trees.get(id);
    if (known !== undefined) return known;
    const object = objects.get(id);
    if (object?.type !== 'tree') throw badObjects(`the server did not send the tree ${id}`);
    const entries = entriesOf(object.bytes);
    trees.set(id, entries);
    return entries;
  };
  function* pathsIn(id: string, prefix: string): Generator<string> {
    for (const [name, entry] of treeOf(id)) {
      if (name.endsWith('/')) yield* pathsIn(entry, prefix + name);
      else yield prefix + name;
    }
  }
  return {
    idOf: (path) => {
      const folders = path.split('/');
      const name = folders.pop()!;
      let tree = treeOf(root);
      for (const folder of folders) {
        const id = tree.get(`${folder}/`);
        if (id === undefined) return null;
        tree = treeOf(id);
      }
      return tree.get(name) ?? null;
    },
    paths: () => pathsIn(root, ''),
  };
}

/** Ids by name; names of folders end with a slash. */
function entriesOf(tree: Uint8Array): Map<string, string> {
  const entries = new Map<string, string>();
  for (let at = 0; at < tree.length; ) {
    const end = tree.indexOf(0, at);
    if (end < 0 || end + idBytes >= tree.length + 1) throw badObjects('a tree is cut');
    const [mode = '', ...name] = new TextDecoder().decode(tree.subarray(at, end)).split(' ');
    entries.set(name.join(' ') + (mode === '40000' ? '/' : ''), hex(tree.subarray(end + 1, end + 1 + idBytes)));
    at = end + 1 + idBytes;
  }
  return entries;
}
