/** What every transport of the coordinator must do; each implementation runs this whole suite through its own kind of client. */
import { strict as assert } from 'node:assert';
import type { HttpAnswer, Peer, Transport, TransportHandlers } from '../../coordinator/transport/transport.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { refuse, succeed } from '../../shared/core/result.ts';
import type { CallName } from '../../shared/protocol/messages.ts';
import { violation } from '../../shared/protocol/violations.ts';

/** The client's end of a connection, whatever carries it. */
export interface TestConnection {
  /** Events in the order in which they came, with their bodies as text. */
  readonly heard: readonly (readonly [string, string])[];
  /** Resolves when there are `count` events. */
  heardAtLeast(count: number): Promise<void>;
  /** Body and attachment of the answer; rejects when the connection ends without one. */
  call(name: CallName, body: Uint8Array, attachment?: Uint8Array): Promise<readonly [Uint8Array, Uint8Array | null]>;
  /** Resolves when the connection is closed, by either side. */
  readonly closed: Promise<void>;
  close(): void;
}

/** How a suite reaches the transport under test. */
export interface TransportUnderTest {
  readonly transport: Transport;
  /** Connects with what goes into the handshake; rejects with the refusal as `code: detail`. */
  connect(url: string, auth: unknown): Promise<TestConnection>;
  challenge(url: string): Promise<HttpAnswer>;
  enrol(url: string, body: unknown): Promise<HttpAnswer>;
  health(url: string): Promise<HttpAnswer>;
}

/** Milliseconds of real time after which a wait is in vain; what is compared afterwards says what was missing. */
const waitMsMax = 10_000;
const plain = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const idOf = (name: string): ClientId => name.padStart(64, '0') as ClientId;

/** Registers the suite. */
export function transportContract(name: string, create: () => TransportUnderTest): void {
  describe(`transport contract: ${name}`, () => {
    let under: TransportUnderTest;
    let url: string;
    let log: string[];
    let peers: Map<string, Peer>;
    let answerCall: TransportHandlers['call'];
    /** Resolves when the log has `count` lines: events of sockets come when they come. */
    const logged = async (count: number): Promise<string[]> => {
      const endMs = performance.now() + waitMsMax;
      while (log.length < count && performance.now() < endMs) await new Promise((resolve) => setImmediate(resolve));
      return log;
    };
    const labelOf = ({ clientId }: Peer): string => clientId.replace(/^0+/, '');

    beforeEach(async () => {
      log = [];
      peers = new Map();
      answerCall = async () => ({ body: new Uint8Array(0) });
      under = create();
      url = await under.transport.listen({
        challenge: async () => ({ status: 200, body: { nonce: 'n' } }),
        withdraw: async () => ({ status: 200, body: {} }),
        enrol: async (body) => ({ status: 403, body: { refused: body } }),
        health: async () => ({ status: 200, body: { phase: 'waiting' } }),
        admit: async (auth) => {
          const { client } = auth as { client: string };
          return client === 'bad'
            ? refuse(violation('unknown-client', 'nobody knows you'))
            : succeed({ clientId: idOf(client), welcome: utf8(`welcome ${client}`) });
        },
        connected: (peer) => {
          log.push(`+${labelOf(peer)}`);
          peers.set(labelOf(peer), peer);
        },
        disconnected: (peer) => log.push(`-${labelOf(peer)}`),
        misused: (peer, { code }) => log.push(`!${labelOf(peer)} ${code}`),
        call: (...parameters) => answerCall(...parameters),
      });
    });
    afterEach(() => under.transport.close());

    it('[TPT-1] the welcome comes first, then what is sent, in order', async () => {
      const connection = await under.connect(url, { client: 'a' });
      await logged(1);
      for (const text of ['one', 'two']) peers.get('a')!.send('offer', utf8(text));
      await connection.heardAtLeast(3);
      assert.deepEqual(connection.heard, [
        ['welcome', 'welcome a'],
        ['offer', 'one'],
        ['offer', 'two'],
      ]);
      assert.deepEqual(log, ['+a']);
    });

    it('[TPT-2] who is not admitted hears why, and is nobody', async () => {
      await assert.rejects(under.connect(url, { client: 'bad' }), /unknown-client: nobody knows you/);
      assert.deepEqual(log, []);
    });

    it('[TPT-3] calls carry bytes both ways, with and without an attachment', async () => {
      const calls: string[] = [];
      answerCall = async (peer, call, body, attachment) => {
        calls.push(`${labelOf(peer)} ${call} ${plain(body)} ${attachment === null ? 'alone' : plain(attachment)}`);
        return attachment === null ? { body: utf8('yes') } : { body: utf8('here'), attachment: utf8('bytes') };
      };
      const connection = await under.connect(url, { client: 'a' });
      const [body, none] = await connection.call('commit', utf8('c'));
      assert.deepEqual([plain(body), none], ['yes', null]);
      const [second, attached] = await connection.call('upload-chunk', utf8('u'), utf8('chunk'));
      assert.deepEqual([plain(second), attached === null ? null : plain(attached)], ['here', 'bytes']);
      assert.deepEqual(calls, ['a commit c alone', 'a upload-chunk u chunk']);
    });

    it('[TPT-4] answers go to the call that asked, however long each takes', async () => {
      const others = Promise.withResolvers<void>();
      answerCall = async (_, __, body) => {
        if (plain(body) === 'slow') await others.promise;
        else others.resolve();
        return { body };
      };
      const connection = await under.connect(url, { client: 'a' });
      const answers = await Promise.all(['slow', 'fast'].map((text) => connection.call('progress', utf8(text))));
      assert.deepEqual(
        answers.map(([body]) => plain(body)),
        ['slow', 'fast'],
      );
    });

    it('[TPT-5] a newer connection of a client takes the place of the older one', async () => {
      const older = await under.connect(url, { client: 'a' });
      await logged(1);
      const newer = await under.connect(url, { client: 'a' });
      await older.closed;
      assert.deepEqual(await logged(3), ['+a', '-a', '+a']);
      peers.get('a')!.send('offer', utf8('to the newer'));
      await newer.heardAtLeast(2);
      assert.deepEqual(older.heard, [['welcome', 'welcome a']]);
      newer.close();
      assert.deepEqual(await logged(4), ['+a', '-a', '+a', '-a']);
    });

    it('[TPT-6] either side may end a connection; sending afterwards is no error', async () => {
      const connection = await under.connect(url, { client: 'a' });
      const other = await under.connect(url, { client: 'b' });
      await logged(2);
      connection.close();
      await logged(3);
      peers.get('a')!.send('offer', utf8('to nobody'));
      peers.get('b')!.close();
      await other.closed;
      assert.deepEqual(await logged(4), ['+a', '+b', '-a', '-b']);
    });

    it('[TPT-7] a call that fails here ends the connection instead of hanging', async () => {
      answerCall = () => Promise.reject(new Error('the disk is gone'));
      const connection = await under.connect(url, { client: 'a' });
      await assert.rejects(connection.call('commit', utf8('c')));
      await connection.closed;
      assert.deepEqual(await logged(2), ['+a', '-a']);
    });

    it('[TPT-8] closing ends every connection', async () => {
      const connections = [await under.connect(url, { client: 'a' }), await under.connect(url, { client: 'b' })];
      await logged(2);
      await under.transport.close();
      for (const { closed } of connections) await closed;
      assert.deepEqual((await logged(4)).slice(2).sort(), ['-a', '-b']);
    });

    it('[TPT-9] challenge, enrolment and health are answered as the handlers say', async () => {
      assert.deepEqual(await under.challenge(url), { status: 200, body: { nonce: 'n' } });
      assert.deepEqual(await under.enrol(url, { token: 't' }), { status: 403, body: { refused: { token: 't' } } });
      assert.deepEqual(await under.health(url), { status: 200, body: { phase: 'waiting' } });
    });
  });
}
