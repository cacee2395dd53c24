// Links over WebSocket: each payload is one binary message.

import { RoamError } from "./errors.js";
import { type Link, Session, type SessionOptions } from "./session.js";

/** What a link needs of a WebSocket: that of a browser, or of the package `ws`. */
export interface AnyWebSocket {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly readyState: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly wasClean: boolean }) => void): void;
}

const OPEN = 1;
const NORMAL = 1000;
const UNSUPPORTED = 4003;

/** A link on a WebSocket that is open. */
export class WebSocketLink implements Link {
  private readonly socket: AnyWebSocket;

  constructor(socket: AnyWebSocket) {
    socket.binaryType = "arraybuffer";
    // It is closed after an error, which the package `ws` would throw.
    socket.addEventListener("error", () => undefined);
    this.socket = socket;
  }

  get unsent(): number {
    return this.socket.bufferedAmount;
  }

  send(payload: Uint8Array<ArrayBuffer>): void {
    if (this.socket.readyState === OPEN) this.socket.send(payload);
  }

  receive(onPayload: (payload: Uint8Array) => void, onEnd: (error: Error | null) => void): void {
    this.socket.addEventListener("message", ({ data }) => {
      if (data instanceof ArrayBuffer) return onPayload(new Uint8Array(data));
      this.socket.close(UNSUPPORTED);
      onEnd(new RoamError("the peer has sent a text message"));
    });
    this.socket.addEventListener("close", ({ code, wasClean }) => {
      onEnd(wasClean ? null : new RoamError(`the WebSocket was lost, with code ${code}`));
    });
  }

  close(): void {
    this.socket.close(NORMAL);
  }
}

/** Begin a session with the server at a URL of `ws:` or `wss:`. */
export async function connect(url: string, options: SessionOptions = {}): Promise<Session> {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new RoamError(`cannot connect to ${url}`)));
  });
  return Session.initiate(new WebSocketLink(socket), options);
}
