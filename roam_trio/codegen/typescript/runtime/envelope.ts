// Messages, and their bytes.

import { Reader, Writer } from "./bytes.js";
import { DecodeError } from "./errors.js";
import type { Metadata, MetadataEntry } from "./metadata.js";
import { type Codec, bytes, list, str, u32, u64 } from "./postcard.js";

export const VERSION = 7;

export type Parity = "odd" | "even";

/** What a peer takes on one connection. */
export interface Settings {
  readonly parity: Parity;
  readonly maxConcurrentRequests: number;
}

/** What a message says, without the id of its connection. */
export type Body =
  | { readonly is: "Hello"; readonly version: number; readonly settings: Settings; readonly metadata: Metadata }
  | { readonly is: "HelloYourself"; readonly settings: Settings; readonly metadata: Metadata }
  | { readonly is: "ProtocolError"; readonly description: string }
  | { readonly is: "Open"; readonly settings: Settings; readonly metadata: Metadata }
  | { readonly is: "Accept"; readonly settings: Settings; readonly metadata: Metadata }
  | { readonly is: "Reject"; readonly metadata: Metadata }
  | { readonly is: "CloseConnection"; readonly metadata: Metadata }
  | { readonly is: "Call"; readonly id: bigint; readonly method: bigint; readonly channels: readonly bigint[]; readonly metadata: Metadata; readonly args: Uint8Array }
  | { readonly is: "Response"; readonly id: bigint; readonly channels?: readonly bigint[]; readonly metadata: Metadata; readonly ret: Uint8Array }
  | { readonly is: "Cancel"; readonly id: bigint; readonly metadata?: Metadata }
  | { readonly is: "Item"; readonly id: bigint; readonly item: Uint8Array }
  | { readonly is: "Close"; readonly id: bigint; readonly metadata?: Metadata }
  | { readonly is: "Reset"; readonly id: bigint; readonly metadata?: Metadata }
  | { readonly is: "Grant"; readonly id: bigint; readonly additional: number }
  | { readonly is: "Ping"; readonly nonce: bigint }
  | { readonly is: "Pong"; readonly nonce: bigint };

export interface Message {
  readonly connection: bigint;
  readonly body: Body;
}

const MOST_ENTRIES = 1024;
const MOST_METADATA_BYTES = 65536;
const MOST_CHANNELS = 65536;
const NO_METADATA: Metadata = [];

const entry: Codec<MetadataEntry> = {
  write(to, { key, value, flags }) {
    str.write(to, key);
    if (typeof value === "string") {
      to.byte(0);
      str.write(to, value);
    } else if (typeof value === "bigint") {
      to.byte(2);
      u64.write(to, value);
    } else {
      to.byte(1);
      bytes.write(to, value);
    }
    u64.write(to, flags ?? 0n);
  },
  read(from) {
    const key = str.read(from);
    const value = valueOf(from);
    return { key, value, flags: u64.read(from) };
  },
};

function valueOf(from: Reader): string | Uint8Array | bigint {
  const tag = from.count();
  if (tag === 0) return str.read(from);
  if (tag === 1) return bytes.read(from);
  if (tag === 2) return u64.read(from);
  throw new DecodeError(`expected text, bytes or a number as metadata, got tag ${tag}`);
}

const entries = list(entry);

const metadata: Codec<Metadata> = {
  write: (to, value) => entries.write(to, [...value]),
  read(from) {
    const start = from.position;
    const found = entries.read(from);
    if (found.length > MOST_ENTRIES || from.position - start > MOST_METADATA_BYTES) {
      throw new DecodeError(`expected at most ${MOST_ENTRIES} entries and ${MOST_METADATA_BYTES} bytes of metadata`);
    }
    return found;
  },
};

const ids = list(u64);

const settings: Codec<Settings> = {
  write(to, value) {
    to.byte(value.parity === "odd" ? 0 : 1);
    u32.write(to, value.maxConcurrentRequests);
  },
  read(from) {
    const parity = from.count();
    if (parity > 1) throw new DecodeError(`expected a parity, got ${parity}`);
    return { parity: parity ? "even" : "odd", maxConcurrentRequests: u32.read(from) };
  },
};

/** Return the bytes of a message. */
export function encodeMessage(connection: bigint, body: Body): Uint8Array<ArrayBuffer> {
  const to = new Writer();
  to.varint(connection);
  writeBody(to, body);
  return to.finish();
}

function writeBody(to: Writer, body: Body): void {
  switch (body.is) {
    case "Hello":
      to.byte(0);
      u32.write(to, body.version);
      return writeTerms(to, body);
    case "HelloYourself":
      to.byte(1);
      return writeTerms(to, body);
    case "ProtocolError":
      to.byte(2);
      return str.write(to, body.description);
    case "Open":
      to.byte(3);
      return writeTerms(to, body);
    case "Accept":
      to.byte(4);
      return writeTerms(to, body);
    case "Reject":
      to.byte(5);
      return metadata.write(to, body.metadata);
    case "CloseConnection":
      to.byte(6);
      return metadata.write(to, body.metadata);
    case "Call":
      writeHead(to, 7, body.id, 0);
      u64.write(to, body.method);
      ids.write(to, [...body.channels]);
      metadata.write(to, body.metadata);
      return to.raw(body.args);
    case "Response":
      writeHead(to, 7, body.id, 1);
      ids.write(to, [...(body.channels ?? [])]);
      metadata.write(to, body.metadata);
      return to.raw(body.ret);
    case "Cancel":
      writeHead(to, 7, body.id, 2);
      return metadata.write(to, body.metadata ?? NO_METADATA);
    case "Item":
      writeHead(to, 8, body.id, 0);
      return to.raw(body.item);
    case "Close":
      writeHead(to, 8, body.id, 1);
      return metadata.write(to, body.metadata ?? NO_METADATA);
    case "Reset":
      writeHead(to, 8, body.id, 2);
      return metadata.write(to, body.metadata ?? NO_METADATA);
    case "Grant":
      writeHead(to, 8, body.id, 3);
      return u32.write(to, body.additional);
    case "Ping":
      to.byte(9);
      return u64.write(to, body.nonce);
    case "Pong":
      to.byte(10);
      return u64.write(to, body.nonce);
  }
}

function writeTerms(to: Writer, body: { settings: Settings; metadata: Metadata }): void {
  settings.write(to, body.settings);
  metadata.write(to, body.metadata);
}

function writeHead(to: Writer, tag: number, id: bigint, second: number): void {
  to.byte(tag);
  u64.write(to, id);
  to.byte(second);
}

/** Return the message of these bytes. */
export function decodeMessage(payload: Uint8Array): Message {
  const from = new Reader(payload);
  const connection = u64.read(from);
  const body = readBody(from);
  from.end();
  return { connection, body };
}

function readBody(from: Reader): Body {
  const tag = from.count();
  switch (tag) {
    case 0:
      return { is: "Hello", version: u32.read(from), settings: settings.read(from), metadata: metadata.read(from) };
    case 1:
      return { is: "HelloYourself", settings: settings.read(from), metadata: metadata.read(from) };
    case 2:
      return { is: "ProtocolError", description: str.read(from) };
    case 3:
      return { is: "Open", settings: settings.read(from), metadata: metadata.read(from) };
    case 4:
      return { is: "Accept", settings: settings.read(from), metadata: metadata.read(from) };
    case 5:
      return { is: "Reject", metadata: metadata.read(from) };
    case 6:
      return { is: "CloseConnection", metadata: metadata.read(from) };
    case 7:
      return readRequest(from);
    case 8:
      return readChannel(from);
    case 9:
      return { is: "Ping", nonce: u64.read(from) };
    case 10:
      return { is: "Pong", nonce: u64.read(from) };
    default:
      throw new DecodeError(`expected the tag of a message, 0 to 10, got ${tag}`);
  }
}

function readRequest(from: Reader): Body {
  const id = u64.read(from);
  const tag = from.count();
  switch (tag) {
    case 0:
      return {
        is: "Call",
        id,
        method: u64.read(from),
        channels: readIds(from),
        metadata: metadata.read(from),
        args: from.rest(),
      };
    case 1:
      return { is: "Response", id, channels: readIds(from), metadata: metadata.read(from), ret: from.rest() };
    case 2:
      return { is: "Cancel", id, metadata: metadata.read(from) };
    default:
      throw new DecodeError(`expected the tag of a request, 0 to 2, got ${tag}`);
  }
}

function readIds(from: Reader): bigint[] {
  const found = ids.read(from);
  if (found.length > MOST_CHANNELS) {
    throw new DecodeError(`expected at most ${MOST_CHANNELS} channels, got ${found.length}`);
  }
  return found;
}

function readChannel(from: Reader): Body {
  const id = u64.read(from);
  const tag = from.count();
  switch (tag) {
    case 0:
      return { is: "Item", id, item: from.rest() };
    case 1:
      return { is: "Close", id, metadata: metadata.read(from) };
    case 2:
      return { is: "Reset", id, metadata: metadata.read(from) };
    case 3:
      return { is: "Grant", id, additional: u32.read(from) };
    default:
      throw new DecodeError(`expected the tag of a channel message, 0 to 3, got ${tag}`);
  }
}
