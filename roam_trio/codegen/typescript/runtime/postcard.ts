// Codecs of the wire types: each writes and reads the values of one type.

import { Reader, Writer } from "./bytes.js";
import { Rx, Tx, givenRx, givenTx, takenRx, takenTx } from "./channels.js";
import { DecodeError, EncodeError, within } from "./errors.js";

/** Writes and reads the values of one type. */
export interface Codec<T> {
  write(to: Writer, value: T): void;
  read(from: Reader): T;
}

/** Return the bytes of a value that has no channels. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer();
  codec.write(writer, value);
  return writer.finish();
}

/** Return the value of all these bytes. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = codec.read(reader);
  reader.end();
  return value;
}

const MOST_EMPTY_ITEMS = 65536;
const LONE_SURROGATE = /\p{Surrogate}/u;
const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function shown(value: unknown): string {
  return typeof value === "object" ? (value === null ? "null" : "an object") : String(value);
}

export const bool: Codec<boolean> = {
  write: (to, value) => to.byte(value ? 1 : 0),
  read(from) {
    const byte = from.byte();
    if (byte > 1) throw new DecodeError(`expected a bool, got byte ${byte}`);
    return byte === 1;
  },
};

function checkedInteger(value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new EncodeError(`expected an integer from ${least} to ${most}, got ${shown(value)}`);
  }
  return value;
}

function unsigned(bits: number): Codec<number> {
  const most = 2 ** bits - 1;
  return {
    write: (to, value) => to.varint(checkedInteger(value, 0, most)),
    read: (from) => from.varint(bits),
  };
}

function signed(bits: number): Codec<number> {
  const most = 2 ** (bits - 1) - 1;
  return {
    write(to, value) {
      const checked = checkedInteger(value, -most - 1, most);
      to.varint(checked < 0 ? -2 * checked - 1 : 2 * checked);
    },
    read(from) {
      const value = from.varint(bits);
      return value % 2 ? -(value + 1) / 2 : value / 2;
    },
  };
}

function checkedBigInt(value: bigint, least: bigint, most: bigint): bigint {
  if (typeof value !== "bigint" || value < least || value > most) {
    throw new EncodeError(`expected a bigint from ${least} to ${most}, got ${shown(value)}`);
  }
  return value;
}

function bigUnsigned(bits: number): Codec<bigint> {
  const most = (1n << BigInt(bits)) - 1n;
  return {
    write: (to, value) => to.varint(checkedBigInt(value, 0n, most)),
    read: (from) => from.bigVarint(bits),
  };
}

function bigSigned(bits: number): Codec<bigint> {
  const most = (1n << BigInt(bits - 1)) - 1n;
  return {
    write(to, value) {
      const checked = checkedBigInt(value, -most - 1n, most);
      to.varint(checked < 0n ? -2n * checked - 1n : 2n * checked);
    },
    read(from) {
      const value = from.bigVarint(bits);
      return value & 1n ? -(value >> 1n) - 1n : value >> 1n;
    },
  };
}

export const u8: Codec<number> = {
  write: (to, value) => to.byte(checkedInteger(value, 0, 255)),
  read: (from) => from.byte(),
};
export const i8: Codec<number> = {
  write: (to, value) => to.byte(checkedInteger(value, -128, 127) & 255),
  read: (from) => (from.byte() << 24) >> 24,
};
export const u16 = unsigned(16);
export const u32 = unsigned(32);
export const u64 = bigUnsigned(64);
export const u128 = bigUnsigned(128);
export const i16 = signed(16);
export const i32 = signed(32);
export const i64 = bigSigned(64);
export const i128 = bigSigned(128);

function checkedNumber(value: number): number {
  if (typeof value !== "number") {
    throw new EncodeError(`expected a number, got ${shown(value)}`);
  }
  return value;
}

export const f32: Codec<number> = {
  write(to, value) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, checkedNumber(value), true);
    to.raw(bytes);
  },
  read(from) {
    const bytes = from.raw(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  },
};

export const f64: Codec<number> = {
  write(to, value) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, checkedNumber(value), true);
    to.raw(bytes);
  },
  read(from) {
    const bytes = from.raw(8);
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
  },
};

export const str: Codec<string> = {
  write(to, value) {
    if (typeof value !== "string" || LONE_SURROGATE.test(value)) {
      throw new EncodeError(`expected a text without lone surrogates, got ${typeof value}`);
    }
    bytes.write(to, toUtf8.encode(value));
  },
  read(from) {
    const length = from.count();
    const utf8 = from.raw(length);
    try {
      return fromUtf8.decode(utf8);
    } catch {
      throw new DecodeError(`expected UTF-8, got ${length} other bytes`);
    }
  },
};

function isOneChar(text: string): boolean {
  return text !== "" && text.length === (text.codePointAt(0)! > 0xffff ? 2 : 1);
}

export const char: Codec<string> = {
  write(to, value) {
    if (!isOneChar(value)) {
      throw new EncodeError("expected one Unicode scalar value");
    }
    str.write(to, value);
  },
  read(from) {
    const value = str.read(from);
    if (!isOneChar(value)) {
      throw new DecodeError("expected one Unicode scalar value");
    }
    return value;
  },
};

/** Byte strings. What is read is a copy. */
export const bytes: Codec<Uint8Array> = {
  write(to, value) {
    if (!(value instanceof Uint8Array)) {
      throw new EncodeError(`expected a Uint8Array, got ${shown(value)}`);
    }
    to.varint(value.length);
    to.raw(value);
  },
  read: (from) => new Uint8Array(from.raw(from.count())),
};

/** A field or an item that has no contents. */
export const unit: Codec<null> = { write: () => undefined, read: () => null };

/** What a method returns that returns nothing. */
export const nothing: Codec<void> = { write: () => undefined, read: () => undefined };

export function option<T>(item: Codec<T>): Codec<T | null> {
  return {
    write(to, value) {
      to.byte(value === null ? 0 : 1);
      if (value !== null) item.write(to, value);
    },
    read(from) {
      const byte = from.byte();
      if (byte > 1) throw new DecodeError(`expected an option, got byte ${byte}`);
      return byte === 1 ? item.read(from) : null;
    },
  };
}

/** An option of what may be null itself: a list of no item or of one, or null. */
export function nestedOption<T>(item: Codec<T>): Codec<[] | [T]> {
  return {
    write(to, value) {
      to.byte(value.length);
      if (value.length === 1) item.write(to, value[0]);
    },
    read(from) {
      const byte = from.byte();
      if (byte > 1) throw new DecodeError(`expected an option, got byte ${byte}`);
      return byte === 1 ? [item.read(from)] : [];
    },
  };
}

function writeItems<T>(to: Writer, item: Codec<T>, items: Iterable<T>): void {
  let index = 0;
  for (const each of items) {
    try {
      item.write(to, each);
    } catch (error) {
      throw within(error, `[${index}]`);
    }
    index++;
  }
}

function readItems<T>(from: Reader, item: Codec<T>, count: number): T[] {
  const items: T[] = [];
  const start = from.position;
  for (let index = 0; index < count; index++) {
    try {
      items.push(item.read(from));
    } catch (error) {
      throw within(error, `[${index}]`);
    }
    // Items without bytes would cost the peer nothing, and us their memory.
    if (from.position === start && count > MOST_EMPTY_ITEMS) {
      throw new DecodeError(`expected at most ${MOST_EMPTY_ITEMS} items without bytes`);
    }
  }
  return items;
}

export function list<T>(item: Codec<T>): Codec<T[]> {
  return {
    write(to, value) {
      to.varint(value.length);
      writeItems(to, item, value);
    },
    read: (from) => readItems(from, item, from.count()),
  };
}

export function array<T>(item: Codec<T>, length: number): Codec<T[]> {
  return {
    write(to, value) {
      if (value.length !== length) {
        throw new EncodeError(`expected ${length} items, got ${value.length}`);
      }
      writeItems(to, item, value);
    },
    read: (from) => readItems(from, item, length),
  };
}

/** Byte strings of a fixed length. What is read is a copy. */
export function byteArray(length: number): Codec<Uint8Array> {
  return {
    write(to, value) {
      if (!(value instanceof Uint8Array) || value.length !== length) {
        throw new EncodeError(`expected a Uint8Array of ${length} bytes`);
      }
      to.raw(value);
    },
    read: (from) => new Uint8Array(from.raw(length)),
  };
}

export function set<T>(item: Codec<T>): Codec<Set<T>> {
  return {
    write(to, value) {
      to.varint(value.size);
      writeItems(to, item, value);
    },
    read: (from) => new Set(readItems(from, item, from.count())),
  };
}

export function map<K, V>(key: Codec<K>, value: Codec<V>): Codec<Map<K, V>> {
  const pair: Codec<readonly [K, V]> = tuple(key, value);
  return {
    write(to, entries) {
      to.varint(entries.size);
      writeItems(to, pair, entries);
    },
    read: (from) => new Map(readItems(from, pair, from.count())),
  };
}

/** Tuples, and structs whose fields have no names. */
export function tuple<T extends readonly unknown[]>(
  ...items: { [K in keyof T]: Codec<T[K]> }
): Codec<T> {
  const codecs: readonly Codec<unknown>[] = items;
  return {
    write(to, value) {
      if (value.length !== codecs.length) {
        throw new EncodeError(`expected ${codecs.length} items, got ${value.length}`);
      }
      codecs.forEach((codec, index) => {
        try {
          codec.write(to, value[index]);
        } catch (error) {
          throw within(error, `[${index}]`);
        }
      });
    },
    read(from) {
      const values = codecs.map((codec, index) => {
        try {
          return codec.read(from);
        } catch (error) {
          throw within(error, `[${index}]`);
        }
      });
      return values as unknown as T;
    },
  };
}

/** Structs: objects with these fields, in this order. */
export function struct<T extends object>(fields: { [K in keyof T]: Codec<T[K]> }): Codec<T> {
  const codecs = Object.entries<Codec<unknown>>(fields);
  return {
    write(to, value) {
      const given = value as Record<string, unknown>;
      for (const [name, codec] of codecs) {
        try {
          codec.write(to, given[name]);
        } catch (error) {
          throw within(error, `.${name}`);
        }
      }
    },
    read(from) {
      const found: Record<string, unknown> = {};
      for (const [name, codec] of codecs) {
        try {
          found[name] = codec.read(from);
        } catch (error) {
          throw within(error, `.${name}`);
        }
      }
      return found as T;
    },
  };
}

function variantAt<T>(variants: readonly T[], from: Reader): T {
  const index = from.count();
  const found = variants[index];
  if (found === undefined) {
    throw new DecodeError(`expected a variant below ${variants.length}, got ${index}`);
  }
  return found;
}

/** Enums without data: the names of their variants. */
export function enumeration<const N extends string>(...names: readonly N[]): Codec<N> {
  return {
    write(to, value) {
      const index = names.indexOf(value);
      if (index < 0) {
        throw new EncodeError(`expected one of ${names.join(", ")}, got ${shown(value)}`);
      }
      to.varint(index);
    },
    read: (from) => variantAt(names, from),
  };
}

/** A variant of an enum with data: `is` names it, and `value` has its data, if any. */
export interface AnyVariant {
  readonly is: string;
  readonly value?: unknown;
}

type DataOf<V> = V extends { readonly value: infer D } ? Codec<D> : null;

/** Enums with data, by the codec of the data of each variant; null for none. */
export function variants<V extends AnyVariant>(cases: {
  [N in V["is"]]: DataOf<Extract<V, { readonly is: N }>>;
}): Codec<V> {
  const known = Object.entries<Codec<unknown> | null>(cases);
  return {
    write(to, value) {
      const index = known.findIndex(([name]) => name === value.is);
      const found = known[index];
      if (found === undefined) {
        const names = known.map(([name]) => name).join(", ");
        throw new EncodeError(`expected one of ${names}, got ${shown(value.is)}`);
      }
      to.varint(index);
      try {
        found[1]?.write(to, value.value);
      } catch (error) {
        throw within(error, `.${value.is}`);
      }
    },
    read(from) {
      const [is, codec] = variantAt(known, from);
      if (codec === null) return { is } as AnyVariant as V;
      try {
        return { is, value: codec.read(from) } as AnyVariant as V;
      } catch (error) {
        throw within(error, `.${is}`);
      }
    },
  };
}

/** A type that is defined later, as those are that contain themselves. */
export function lazy<T>(codec: () => Codec<T>): Codec<T> {
  return {
    write: (to, value) => to.nested(() => codec().write(to, value)),
    read: (from) => from.nested(() => codec().read(from)),
  };
}

/** A channel on which the handler sends. */
export function tx<T>(item: Codec<T>, credit: number): Codec<Tx<T>> {
  return {
    write: (to, value) => void to.ends.push(givenTx(value, item, credit)),
    read(from) {
      const handle = new Tx<T>();
      from.ends.push(takenTx(handle, item, credit));
      return handle;
    },
  };
}

/** A channel on which the caller sends. */
export function rx<T>(item: Codec<T>, credit: number): Codec<Rx<T>> {
  return {
    write: (to, value) => void to.ends.push(givenRx(value, item, credit)),
    read(from) {
      const handle = new Rx<T>();
      from.ends.push(takenRx(handle, item, credit));
      return handle;
    },
  };
}
