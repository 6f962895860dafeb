/**
 * The client's connection as a port: the driver and the blob transfer see only this. `socket-transport.ts` is the real one, tests bring
 * a double. A transport carries bytes; `calls.ts` gives them meaning.
 */

/** Events that the coordinator sends after its welcome. */
export const incomingEvents = ['offer', 'stage', 'evaluate', 'result', 'void', 'finished'] as const;

/** Name of an event that the coordinator sends. */
export type IncomingEvent = (typeof incomingEvents)[number];

/** Where a transport reports what the coordinator says and when the connection ends. */
export interface TransportListener {
  /** The coordinator proved itself; called before any message of the connection is handed on. */
  readonly onConnected: () => void;
  /** One message of the coordinator, not decoded yet; comes after the answers that were sent before it. */
  readonly onMessage: (event: IncomingEvent, body: Uint8Array) => void;
  /** The connection is gone; reported once per connection. */
  readonly onLost: (detail: string) => void;
}

/** One acknowledged call. */
export interface Call {
  /** Event name on the wire. */
  readonly event: string;
  /** Encoded message. */
  readonly body: Uint8Array;
  /** Raw bytes that travel as a second binary argument. */
  readonly attachment?: Uint8Array;
}

/** The answer to a call: the encoded reply and perhaps raw bytes, which the caller owns. */
export interface Answer {
  readonly body: Uint8Array;
  readonly attachment: Uint8Array | null;
}

/** A way to talk to one coordinator, with both sides authenticated. */
export interface Transport {
  /**
   * Fetches a challenge, connects, checks the coordinator's welcome.
   * @throws TransportError: `admission-refused` is final, `approval-pending` waits for the operator, everything else may go away.
   */
  connect(listener: TransportListener): Promise<void>;
  /** Sends and waits for the answer. @throws TransportError when the connection is lost or nobody answers in time: call again. */
  call(call: Call): Promise<Answer>;
  /** The coordinator's clock minus ours in milliseconds, from the last signed challenge. */
  clockOffsetMs(): number;
  /** Measures that difference again: a clock may be set while a connection stands. @throws TransportError when nobody tells the time. */
  measureClock(): Promise<void>;
  /** Ends the connection; nothing is reported afterwards. */
  close(): void;
}
