// Links by URL, on node: `tcp://host:port`, `unix:///path` and `ws://host:port/`.

import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";

import { WebSocket, WebSocketServer } from "ws";

import { type Link, RoamError, WebSocketLink } from "./generated.js";

const MOST_PAYLOAD_BYTES = 16 * 1024 * 1024;

/** A link on a stream: a length of four bytes, little-endian, precedes each payload. */
class StreamLink implements Link {
  private readonly socket: Socket;
  private readonly received = new Received();

  constructor(socket: Socket) {
    socket.setNoDelay(true);
    this.socket = socket;
  }

  get unsent(): number {
    return this.socket.writableLength;
  }

  send(payload: Uint8Array): void {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, payload.length, true);
    this.socket.cork();
    this.socket.write(length);
    this.socket.write(payload);
    this.socket.uncork();
  }

  receive(onPayload: (payload: Uint8Array) => void, onEnd: (error: Error | null) => void): void {
    let lost: Error | null = null;
    this.socket.on("data", (chunk: Buffer) => {
      try {
        this.received.add(chunk);
        for (let next = this.received.take(); next !== null; next = this.received.take()) {
          onPayload(next);
        }
      } catch (error) {
        this.socket.destroy();
        onEnd(error instanceof Error ? error : new RoamError(String(error)));
      }
    });
    this.socket.on("error", (error) => (lost = error));
    this.socket.on("end", () => {
      onEnd(this.received.isEmpty ? null : new RoamError("the stream ended within a payload"));
    });
    this.socket.on("close", () => onEnd(lost));
  }

  close(): void {
    this.socket.end();
  }
}

/** Bytes of a stream, divided into payloads. */
class Received {
  private chunks: Uint8Array[] = [];
  private size = 0;
  private wanted: number | null = null;

  get isEmpty(): boolean {
    return this.size === 0 && this.wanted === null;
  }

  add(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    this.size += chunk.length;
  }

  take(): Uint8Array | null {
    if (this.wanted === null) {
      if (this.size < 4) return null;
      const length = this.cut(4);
      this.wanted = new DataView(length.buffer, length.byteOffset, 4).getUint32(0, true);
      if (this.wanted > MOST_PAYLOAD_BYTES) throw new RoamError(`a payload of ${this.wanted} bytes`);
    }
    if (this.size < this.wanted) return null;
    const payload = this.cut(this.wanted);
    this.wanted = null;
    return payload;
  }

  private cut(length: number): Uint8Array {
    const all = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    this.size -= length;
    this.chunks = this.size === 0 ? [] : [all.subarray(length)];
    return all.subarray(0, length);
  }
}

export async function dial(url: string): Promise<Link> {
  if (url.startsWith("ws:")) {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const link = new WebSocketLink(socket);
    await once(socket, "open");
    return link;
  }
  const socket = url.startsWith("unix:") ? connect(pathOf(url)) : connect(portOf(url), hostOf(url));
  await once(socket, "connect");
  return new StreamLink(socket);
}

/** Return the URL at which it listens, and have each link passed on. */
export async function listen(url: string, onLink: (link: Link) => void): Promise<string> {
  if (url.startsWith("unix:")) {
    await listening(createServer((socket) => onLink(new StreamLink(socket))), pathOf(url));
    return url;
  }
  const host = hostOf(url);
  if (url.startsWith("ws:")) {
    const http = createHttpServer();
    const server = new WebSocketServer({ server: http, perMessageDeflate: false });
    server.on("connection", (socket) => onLink(new WebSocketLink(socket)));
    return `ws://${host}:${await listening(http, portOf(url), host)}/`;
  }
  const server = createServer((socket) => onLink(new StreamLink(socket)));
  return `tcp://${host}:${await listening(server, portOf(url), host)}`;
}

async function listening(server: Server, at: string | number, host?: string): Promise<number> {
  if (typeof at === "string") server.listen(at);
  else server.listen(at, host);
  await once(server, "listening");
  return typeof at === "string" ? 0 : (server.address() as AddressInfo).port;
}

function pathOf(url: string): string {
  return url.slice("unix://".length);
}

function hostOf(url: string): string {
  return new URL(url).hostname;
}

function portOf(url: string): number {
  return Number(/:(\d+)\/?$/.exec(url)?.[1] ?? 0);
}
