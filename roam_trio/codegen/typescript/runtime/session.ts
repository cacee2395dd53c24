// A session: the handshake, its connections, and its end.

import type { Handler } from "./calls.js";
import { Connection, type ConnectionPort } from "./connection.js";
import { type Body, type Message, type Parity, type Settings, VERSION, decodeMessage, encodeMessage } from "./envelope.js";
import { ConnectionLost, ConnectionRejected, ProtocolViolation, RoamError, errorOf } from "./errors.js";
import { KNOWS_ENTRIES, type Metadata, type MetadataEntry, numberOf, textOf } from "./metadata.js";

/** Moves payloads to a peer and from it. */
export interface Link {
  /** The number of bytes that were sent and have not left yet. */
  readonly unsent: number;
  /** Send a payload. After the end of the link, nothing happens. */
  send(payload: Uint8Array<ArrayBuffer>): void;
  /** Begin to receive. `onEnd` is called once, with an error unless the peer has closed. */
  receive(onPayload: (payload: Uint8Array) => void, onEnd: (error: Error | null) => void): void;
  /** Close the link, after what was sent. */
  close(): void;
}

/** What is done with a connection that the peer opens. */
export interface Acceptance {
  readonly handler: Handler;
  readonly metadata?: Metadata;
}

export interface SessionOptions {
  /** Answers the calls of the peer on the root connection. */
  readonly handler?: Handler;
  /** Decides on connections that the peer opens; a text is the reason of a rejection.
   * Without it, each is rejected. */
  readonly onConnection?: (metadata: Metadata) => Acceptance | string;
  /** Sent with the handshake. */
  readonly metadata?: Metadata;
  /** The number of requests that are accepted at a time, on each connection. */
  readonly maxConcurrentRequests?: number;
  /** The parity of the ids of an initiator. */
  readonly parity?: Parity;
  /** Ping the peer that often, in milliseconds. Without it, there are no pings. */
  readonly pingMs?: number;
  /** The time for the answer to a ping, in milliseconds. Without an answer, the session
   * ends. */
  readonly pongMs?: number;
  /** Told of what handlers throw. The console is, by default. */
  readonly onHandlerError?: (error: Error) => void;
}

const MOST_PAYLOAD_BYTES = 16 * 1024 * 1024;
const MOST_UNSENT_BYTES = 256 * 1024 * 1024;
const MOST_CONNECTIONS = 1024;
const DEFAULT_REQUESTS = 64;
const DEFAULT_PONG_MS = 5000;
const NO_HANDLER: Handler = new Map();

type Role = "initiator" | "acceptor";

function otherThan(parity: Parity): Parity {
  return parity === "odd" ? "even" : "odd";
}

/** A connection that this side has asked for. */
interface Opening {
  readonly settings: Settings;
  readonly handler: Handler;
  readonly resolve: (connection: Connection) => void;
  readonly reject: (error: Error) => void;
}

/** Two peers on a link. */
export class Session {
  /** Settled when the session has ended, with the reason if it did not end orderly. */
  readonly closed: Promise<Error | null>;
  private readonly link: Link;
  private readonly role: Role;
  private readonly options: SessionOptions;
  private readonly connections = new Map<bigint, Connection>();
  private readonly openings = new Map<bigint, Opening>();
  private rootConnection: Connection | null = null;
  private parity: Parity;
  private knowsEntries = false;
  private lastOpened: bigint | null = null;
  private pingTimer: ReturnType<typeof setInterval> | undefined;
  private pongTimer: ReturnType<typeof setTimeout> | undefined;
  private over = false;
  private settle: (reason: Error | null) => void = () => undefined;
  private established: (outcome: Error | null) => void = () => undefined;

  private constructor(link: Link, role: Role, options: SessionOptions) {
    this.link = link;
    this.role = role;
    this.options = options;
    this.parity = options.parity ?? "odd";
    this.closed = new Promise((resolve) => (this.settle = resolve));
  }

  /** Begin a session with a peer that waits for one. */
  static initiate(link: Link, options: SessionOptions = {}): Promise<Session> {
    return new Session(link, "initiator", options).establish();
  }

  /** Wait until a peer begins a session. */
  static accept(link: Link, options: SessionOptions = {}): Promise<Session> {
    return new Session(link, "acceptor", options).establish();
  }

  /** The connection that each session has. */
  get root(): Connection {
    if (this.rootConnection === null) throw new RoamError("the handshake is not done");
    return this.rootConnection;
  }

  /** Open a connection for a service that the peer offers by this name.
   *
   * Rejects with ConnectionRejected. */
  async open(service: string, options: { handler?: Handler; metadata?: Metadata } = {}): Promise<Connection> {
    if (this.over) throw new ConnectionLost("the session has ended");
    const id = this.nextConnection();
    const settings = this.settings("odd");
    const metadata: Metadata = [{ key: "service", value: service }, ...(options.metadata ?? [])];
    return new Promise((resolve, reject) => {
      this.send(id, { is: "Open", settings, metadata });
      this.openings.set(id, { settings, handler: options.handler ?? NO_HANDLER, resolve, reject });
    });
  }

  /** End the session, after what was sent. */
  close(): void {
    this.end(null);
  }

  // ---------------------------------------------------------------- the handshake

  private establish(): Promise<Session> {
    return new Promise((resolve, reject) => {
      this.established = (error) => (error ? reject(error) : resolve(this));
      this.link.receive(
        (payload) => this.onPayload(payload),
        (error) => this.end(error),
      );
      if (this.role === "initiator") {
        this.send(0n, { is: "Hello", version: VERSION, settings: this.settings(this.parity), metadata: this.told(true) });
      }
    });
  }

  private onFirst(body: Body): void {
    if (body.is === "ProtocolError") {
      return this.end(new ProtocolViolation(`the peer has turned the session away: ${body.description}`));
    }
    const expected = this.role === "initiator" ? "HelloYourself" : "Hello";
    if (body.is !== expected || (body.is !== "Hello" && body.is !== "HelloYourself")) {
      return this.violated(`expected ${expected} first, got ${body.is}`);
    }
    if (body.is === "Hello" && body.version !== VERSION) {
      return this.violated(`expected version ${VERSION}, got ${body.version}`);
    }
    const knowsEntries = numberOf(body.metadata, KNOWS_ENTRIES.key) !== null;
    this.knowsEntries = knowsEntries;
    if (body.is === "Hello") {
      this.parity = otherThan(body.settings.parity);
      this.send(0n, { is: "HelloYourself", settings: this.settings(this.parity), metadata: this.told(knowsEntries) });
    }
    const peerMetadata = body.metadata.filter((entry) => entry.key !== KNOWS_ENTRIES.key);
    this.rootConnection = this.begin(0n, this.settings(this.parity), body.settings, peerMetadata, this.options.handler ?? NO_HANDLER);
    this.keepAlive();
    this.established(null);
  }

  private told(knowsEntries: boolean): MetadataEntry[] {
    const metadata = this.options.metadata ?? [];
    return knowsEntries ? [...metadata, KNOWS_ENTRIES] : [...metadata];
  }

  private settings(parity: Parity): Settings {
    return { parity, maxConcurrentRequests: this.options.maxConcurrentRequests ?? DEFAULT_REQUESTS };
  }

  // ---------------------------------------------------------------- messages of the peer's

  private onPayload(payload: Uint8Array): void {
    if (this.over) return;
    let message: Message;
    try {
      if (payload.length > MOST_PAYLOAD_BYTES) throw new RoamError(`more than ${MOST_PAYLOAD_BYTES} bytes`);
      message = decodeMessage(payload);
    } catch (error) {
      return this.violated(`a payload is not a message: ${errorOf(error).message}`);
    }
    if (this.rootConnection === null) this.onFirst(message.body);
    else this.onMessage(message.connection, message.body);
  }

  private onMessage(id: bigint, body: Body): void {
    switch (body.is) {
      case "Hello":
      case "HelloYourself":
        return this.violated(`${body.is} after the handshake`);
      case "ProtocolError":
        return this.end(new ProtocolViolation(`the peer has ended the session: ${body.description}`));
      case "Ping":
        return this.send(0n, { is: "Pong", nonce: body.nonce });
      case "Pong":
        clearTimeout(this.pongTimer);
        this.pongTimer = undefined;
        return;
      case "Open":
        return this.onOpen(id, body);
      case "Accept":
      case "Reject":
        return this.onAnswer(id, body);
      default:
        // One that this side has closed, or whose end has crossed the message.
        this.connections.get(id)?.on(body);
    }
  }

  private onOpen(id: bigint, { settings, metadata }: Body & { is: "Open" }): void {
    const ofPeer = (id & 1n) === (this.parity === "odd" ? 0n : 1n);
    if (id === 0n || !ofPeer || this.connections.has(id)) {
      return this.violated(`connection ${id} cannot be opened by the peer`);
    }
    const decision = this.decide(metadata);
    if (typeof decision === "string") {
      return this.send(id, { is: "Reject", metadata: [{ key: "error", value: decision }] });
    }
    const ours = this.settings(otherThan(settings.parity));
    this.begin(id, ours, settings, metadata, decision.handler);
    this.send(id, { is: "Accept", settings: ours, metadata: decision.metadata ?? [] });
  }

  private decide(metadata: Metadata): Acceptance | string {
    if (this.connections.size > MOST_CONNECTIONS) return "there are too many connections";
    try {
      return this.options.onConnection?.(metadata) ?? "no connections are accepted";
    } catch (error) {
      this.handlerFailed(errorOf(error));
      return "the decision has failed";
    }
  }

  private onAnswer(id: bigint, body: Body & { is: "Accept" | "Reject" }): void {
    const opening = this.openings.get(id);
    if (opening === undefined) return this.violated(`${body.is} for connection ${id}, which was not asked for`);
    this.openings.delete(id);
    if (body.is === "Reject") {
      const reason = textOf(body.metadata, "error");
      return opening.reject(new ConnectionRejected(`the peer has rejected the connection${reason ? `: ${reason}` : ""}`));
    }
    opening.resolve(this.begin(id, opening.settings, body.settings, body.metadata, opening.handler));
  }

  private begin(id: bigint, ours: Settings, theirs: Settings, peerMetadata: Metadata, handler: Handler): Connection {
    const port: ConnectionPort = {
      knowsEntries: this.knowsEntries,
      send: (connection, body) => this.send(connection, body),
      violated: (description) => this.violated(description),
      handlerFailed: (error) => this.handlerFailed(error),
      forget: (connection) => this.connections.delete(connection),
    };
    const connection = new Connection(port, { id, ours, theirs, peerMetadata, handler });
    this.connections.set(id, connection);
    return connection;
  }

  private nextConnection(): bigint {
    this.lastOpened = this.lastOpened === null ? (this.parity === "odd" ? 1n : 2n) : this.lastOpened + 2n;
    return this.lastOpened;
  }

  private handlerFailed(error: Error): void {
    if (this.options.onHandlerError) this.options.onHandlerError(error);
    else console.error(error);
  }

  // ---------------------------------------------------------------- pings

  private keepAlive(): void {
    const { pingMs, pongMs = DEFAULT_PONG_MS } = this.options;
    if (pingMs === undefined) return;
    let nonce = 0n;
    this.pingTimer = setInterval(() => {
      if (this.pongTimer !== undefined) return;
      const late = new RoamError(`the peer has not answered a ping for ${pongMs} ms`);
      this.pongTimer = setTimeout(() => this.end(late), pongMs);
      this.send(0n, { is: "Ping", nonce: ++nonce });
    }, pingMs);
  }

  // ---------------------------------------------------------------- what is sent, and the end

  private send(connection: bigint, body: Body): void {
    if (this.over) return;
    const payload = encodeMessage(connection, body);
    if (payload.length > MOST_PAYLOAD_BYTES) {
      throw new RoamError(`a message has ${payload.length} bytes, and ${MOST_PAYLOAD_BYTES} at most go into one`);
    }
    this.link.send(payload);
    if (this.link.unsent > MOST_UNSENT_BYTES) {
      this.end(new RoamError(`the peer does not take what it is sent: ${MOST_UNSENT_BYTES} bytes wait`));
    }
  }

  private violated(description: string): void {
    if (this.over) return;
    this.send(0n, { is: "ProtocolError", description });
    this.end(new ProtocolViolation(description));
  }

  private end(reason: Error | null): void {
    if (this.over) return;
    this.over = true;
    clearInterval(this.pingTimer);
    clearTimeout(this.pongTimer);
    this.link.close();
    for (const each of [...this.connections.values()]) each.end(reason);
    for (const each of this.openings.values()) each.reject(new ConnectionLost("the session has ended", { cause: reason }));
    this.openings.clear();
    this.established(reason ?? new ConnectionLost("the session ended before the handshake was done"));
    this.settle(reason);
  }
}
