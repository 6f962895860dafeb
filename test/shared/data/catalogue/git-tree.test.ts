import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { blobIdOf } from '../../../../shared/data/catalogue/git-pack.node.ts';
import { fetchCommitFiles } from '../../../../shared/data/catalogue/git-tree.node.ts';
import { gitRepository } from './git-repository.ts';
import { startPublishedServer } from './published-server.ts';

const signal = new AbortController().signal;

describe('fetchCommitFiles', () => {
  it('[GTR-1] knows every file of a commit by the id that git gives it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tributary-git-'));
    const server = await startPublishedServer();
    try {
      const texts: Record<string, string> = { 'readme.txt': 'top', 'data.x/ü b.csv': 'a,b\n' };
      for (let index = 0; index < 60; index++) texts[`data/${index % 5}/${index}.xml`] = `file ${index}\n`;
      const { git, commit } = gitRepository(folder, texts);
      server.repositories.set('/owner/name.git', folder);
      const files = await fetchCommitFiles({ url: `${server.origin}/owner/name.git`, commit, signal });
      const listed = git('ls-tree', '-r', '-z', 'HEAD')
        .split('\0')
        .filter((line) => line !== '')
        .map((line) => /^\d+ blob (\w+)\t(.*)$/s.exec(line)!);
      assert.equal(listed.length, 62);
      for (const [, id, path] of listed) assert.equal(files!.idOf(path!), id, path);
      assert.deepEqual(
        [...files!.paths()],
        listed.map(([, , path]) => path),
      );
      assert.equal(files!.idOf('readme.txt'), blobIdOf(Buffer.from('top')));
      for (const path of ['none', 'data', 'data/0', 'data/9/1.xml', 'readme.txt/x'])
        assert.equal(files!.idOf(path), null);
    } finally {
      await server.close();
      rmSync(folder, { recursive: true });
    }
  });

  describe('answers of other servers', () => {
    let server: Server;
    let answer: Uint8Array | number = 404;
    before((done) => {
      server = createServer((request, response) => {
        request.resume();
        if (typeof answer === 'number') response.writeHead(answer).end();
        else response.writeHead(200).end(answer);
      }).listen(0, '127.0.0.1', done);
    });
    after((done) => {
      server.close(done);
      server.closeAllConnections();
    });
    const fetchFrom = (commit: string) =>
      fetchCommitFiles({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, commit, signal });

    it('[GTR-2] puts objects together from deltas, whatever their order', async () => {
      const deltas = [appending(trees[1], trees[2]), appending(trees[0], trees[1])];
      answer = answerOf(pack([deltas[0]!, commitObject, deltas[1]!, object('tree', trees[0])]));
      const files = await fetchFrom(commitObject.id);
      assert.deepEqual([...files!.paths()], ['a', 'b', 'c']);
      assert.equal(files!.idOf('c'), hexId(3));
    });

    it('[GTR-3] believes nothing that does not lead from the commit to the file', async () => {
      const large = object('tree', trees[2]);
      const whole = pack([commitObject, large]);
      answer = answerOf(whole);
      assert.equal((await fetchFrom(commitObject.id))!.idOf('a'), hexId(1));
      const cases: [Uint8Array, RegExp][] = [
        [answerOf(pack([large])), /did not send the commit/],
        [answerOf(pack([object('blob', commitObject.bytes), large])), /did not send the commit/],
        [answerOf(whole.subarray(0, whole.length - 30)), /cannot be unpacked/],
        [
          answerOf(pack([commitObject, { ...appending(trees[0], trees[2]), base: hexId(9) }])),
          /the base of an object is missing/,
        ],
        [answerOf(pack([commitObject, { ...large, kind: 6 }])), /an object is of kind 6|cannot be unpacked/],
        [answerOf(pack([object('tree', trees[0]), appending(trees[0], trees[1], 1)])), /a delta is cut|damaged/],
        [
          answerOf(
            pack([object('tree', trees[1]), { ...appending(trees[0], trees[2]), base: object('tree', trees[1]).id }]),
          ),
          /does not fit its base/,
        ],
        [answerOf(Buffer.from('PACK')), /it is no pack/],
        [line('ERR upload-pack: not our ref\n'), /the server says: upload-pack: not our ref/],
        [Buffer.concat([line('packfile\n'), line('\u0003too much\n')]), /the server says: too much/],
        [Buffer.from('0000'), /holds no pack/],
        [Buffer.from('00ffxx'), /a line of the answer is cut/],
        [Buffer.from('<html>'), /a line of the answer is cut/],
      ];
      for (const [bytes, reason] of cases) {
        answer = bytes;
        await assert.rejects(fetchFrom(commitObject.id), (thrown: Error & { code?: string }) => {
          assert.equal(thrown.code, 'bad-git-objects', String(thrown));
          assert.match(thrown.message, reason);
          return true;
        });
      }
      // A tree that is not sent is missed when a path leads there.
      answer = answerOf(pack([commitObject]));
      const files = await fetchFrom(commitObject.id);
      assert.throws(() => files!.idOf('a'), /did not send the tree/);
    });

    it('[GTR-4] is null where the server does not speak the protocol, a failure where it is only busy', async () => {
      for (const status of [404, 403, 405]) {
        answer = status;
        assert.equal(await fetchFrom(commitObject.id), null);
      }
      for (const status of [429, 500, 503]) {
        answer = status;
        await assert.rejects(fetchFrom(commitObject.id), { code: 'download-failed' });
      }
    });
  });
});

interface PackObject {
  readonly kind: number;
  readonly base?: string;
  readonly bytes: Uint8Array;
  readonly id: string;
}

function object(type: 'commit' | 'tree' | 'blob', bytes: Uint8Array): PackObject {
  const id = createHash('sha1').update(`${type} ${bytes.length}\0`).update(bytes).digest('hex');
  return { kind: { commit: 1, tree: 2, blob: 3 }[type], bytes, id };
}

/** `to`, which begins as `from` does, as a delta against it; `cut` bytes are left out at the end. */
function appending(from: Uint8Array, to: Uint8Array, cut = 0): PackObject {
  const added = to.subarray(from.length);
  const copy = [0x90, from.length];
  const bytes = Uint8Array.from([from.length, to.length, ...copy, added.length, ...added]);
  return { kind: 7, base: object('tree', from).id, bytes: bytes.subarray(0, bytes.length - cut), id: '' };
}

/** Forty times the same digit. */
function hexId(digit: number): string {
  return String(digit).repeat(40);
}

function treeOf(...names: string[]): Buffer {
  return Buffer.concat(
    names.map((name, index) => Buffer.concat([Buffer.from(`100644 ${name}\0`), Buffer.from(hexId(index + 1), 'hex')])),
  );
}

function line(text: string | Uint8Array): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, '0')), bytes]);
}

/** As a server sends it: marks, a progress line, the pack in two pieces, the end. */
function answerOf(content: Uint8Array): Buffer {
  const channel = (number: number, bytes: Uint8Array): Buffer => line(Buffer.concat([Buffer.of(number), bytes]));
  const half = content.length >> 1;
  return Buffer.concat([
    line('shallow-info\n'),
    line(`shallow ${hexId(1)}`),
    Buffer.from('0001'),
    line('packfile\n'),
    channel(2, Buffer.from('counting')),
    channel(1, content.subarray(0, half)),
    channel(1, content.subarray(half)),
    Buffer.from('0000'),
  ]);
}

function pack(objects: readonly PackObject[]): Buffer {
  const header = Buffer.from('PACK\0\0\0\u0002\0\0\0\0', 'latin1');
  header.writeUInt32BE(objects.length, 8);
  const parts = objects.map(({ kind, base, bytes }) => {
    const sizes = [(kind << 4) | (bytes.length & 15)];
    for (let rest = bytes.length >> 4; rest > 0; rest >>= 7) {
      sizes[sizes.length - 1]! |= 0x80;
      sizes.push(rest & 0x7f);
    }
    return Buffer.concat([Buffer.from(sizes), Buffer.from(base ?? '', 'hex'), deflateSync(bytes)]);
  });
  const body = Buffer.concat([header, ...parts]);
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}

/** Trees of one, two and three files. */
const trees = [treeOf('a'), treeOf('a', 'b'), treeOf('a', 'b', 'c')] as const;
const commitObject = object('commit', Buffer.from(`tree ${object('tree', trees[2]).id}\nauthor a\n\nall\n`));
