// Bytes as they are written and read, and the varints in them.

import type { ChannelEnd } from "./channels.js";
import { DecodeError, EncodeError } from "./errors.js";

const MOST_DEPTH = 500;

/** Collects the bytes of one value, and the ends of channels in it. */
export class Writer {
  readonly ends: ChannelEnd[] = [];
  private bytes = new Uint8Array(64);
  private length = 0;
  private depth = 0;

  byte(value: number): void {
    this.room(1)[this.length++] = value;
  }

  raw(value: Uint8Array): void {
    this.room(value.length).set(value, this.length);
    this.length += value.length;
  }

  varint(value: number | bigint): void {
    const bytes = this.room(19);
    if (typeof value === "bigint") {
      while (value > 0x7fff_ffffn) {
        bytes[this.length++] = Number(value & 127n) | 128;
        value >>= 7n;
      }
      value = Number(value);
    }
    while (value > 127) {
      bytes[this.length++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
    bytes[this.length++] = value;
  }

  /** Write a part that may contain others of its type. */
  nested(write: () => void): void {
    if (++this.depth > MOST_DEPTH) {
      throw new EncodeError(`expected at most ${MOST_DEPTH} levels of one type`);
    }
    write();
    this.depth--;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }

  private room(more: number): Uint8Array {
    if (this.length + more > this.bytes.length) {
      const larger = new Uint8Array(2 * (this.length + more));
      larger.set(this.bytes.subarray(0, this.length));
      this.bytes = larger;
    }
    return this.bytes;
  }
}

/** Reads values from bytes, strictly, and collects the ends of channels in them. */
export class Reader {
  readonly ends: ChannelEnd[] = [];
  private readonly bytes: Uint8Array;
  private at = 0;
  private depth = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get position(): number {
    return this.at;
  }

  byte(): number {
    const value = this.bytes[this.at];
    if (value === undefined) {
      throw new DecodeError(`expected another byte after ${this.at}`);
    }
    this.at++;
    return value;
  }

  raw(length: number): Uint8Array {
    const left = this.bytes.length - this.at;
    if (length > left) {
      throw new DecodeError(`expected ${length} bytes, got ${left}`);
    }
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** Return everything that is left. */
  rest(): Uint8Array {
    return this.raw(this.bytes.length - this.at);
  }

  /** Read an unsigned number of at most 32 bits. */
  varint(bits: number): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift >= bits) {
        throw new DecodeError(`expected a varint of at most ${bits} bits`);
      }
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    if (value >= 2 ** bits) {
      throw new DecodeError(`expected a number of at most ${bits} bits, got ${value}`);
    }
    return value;
  }

  /** Read an unsigned number of up to 128 bits. */
  bigVarint(bits: number): bigint {
    let byte = this.byte();
    let value = BigInt(byte & 127);
    for (let shift = 7; byte > 127; shift += 7) {
      if (shift >= bits) {
        throw new DecodeError(`expected a varint of at most ${bits} bits`);
      }
      byte = this.byte();
      value |= BigInt(byte & 127) << BigInt(shift);
    }
    if (value >> BigInt(bits)) {
      throw new DecodeError(`expected a number of at most ${bits} bits, got ${value}`);
    }
    return value;
  }

  /** Read the number of items or bytes that follow. */
  count(): number {
    const value = this.bigVarint(64);
    if (value > 0xffff_ffffn) {
      throw new DecodeError(`expected a count below 2 ** 32, got ${value}`);
    }
    return Number(value);
  }

  /** Read a part that may contain others of its type. */
  nested<T>(read: () => T): T {
    if (++this.depth > MOST_DEPTH) {
      throw new DecodeError(`expected at most ${MOST_DEPTH} levels of one type`);
    }
    const value = read();
    this.depth--;
    return value;
  }

  /** Check that nothing is left. */
  end(): void {
    const left = this.bytes.length - this.at;
    if (left) throw new DecodeError(`expected the end, got ${left} more bytes`);
  }
}
