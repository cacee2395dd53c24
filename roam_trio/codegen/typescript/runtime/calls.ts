// Methods, the results of calls, and handlers that answer them.

import { Reader, Writer } from "./bytes.js";
import type { ChannelEnd } from "./channels.js";
import type { Connection } from "./connection.js";
import { DecodeError } from "./errors.js";
import type { Metadata } from "./metadata.js";
import type { Codec } from "./postcard.js";

/** What a method that declares an error returns. */
export type Result<T, E> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

export function ok<T>(value: T): Result<T, never> {
  return { ok: true, value };
}

export function failed<E>(error: E): Result<never, E> {
  return { ok: false, error };
}

/** A method: its id on the wire, and how its arguments and results are written. */
export interface Method<A extends readonly unknown[], T, E> {
  readonly name: string;
  readonly id: bigint;
  readonly args: Codec<A>;
  readonly value: Codec<T>;
  /** Null if the method declares no error. */
  readonly error: Codec<E> | null;
}

export const UNKNOWN_METHOD = new Uint8Array([1, 1]);
export const INVALID_PAYLOAD = new Uint8Array([1, 2]);
export const CANCELLED = new Uint8Array([1, 3]);

/** What a response says. */
export type Outcome<T, E> = Result<T, E> | "unknown method" | "invalid payload" | "cancelled";

function encodeResult<A extends readonly unknown[], T, E>(method: Method<A, T, E>, result: Result<T, E>): Uint8Array {
  const to = new Writer();
  if (result.ok) {
    to.byte(0);
    method.value.write(to, result.value);
  } else {
    to.byte(1);
    to.byte(0);
    method.error?.write(to, result.error);
  }
  return to.finish();
}

/** Return what a response to a call of this method says. */
export function decodeResult<A extends readonly unknown[], T, E>(method: Method<A, T, E>, ret: Uint8Array): Outcome<T, E> {
  const from = new Reader(ret);
  const outcome = readOutcome(method, from);
  from.end();
  return outcome;
}

function readOutcome<A extends readonly unknown[], T, E>(method: Method<A, T, E>, from: Reader): Outcome<T, E> {
  const tag = from.count();
  if (tag === 0) return ok(method.value.read(from));
  if (tag !== 1) throw new DecodeError(`expected a result, got tag ${tag}`);
  const kind = from.count();
  switch (kind) {
    case 0:
      if (method.error === null) throw new DecodeError("expected no error of the method's own");
      return failed(method.error.read(from));
    case 1:
      return "unknown method";
    case 2:
      return "invalid payload";
    case 3:
      return "cancelled";
    default:
      throw new DecodeError(`expected the kind of an error, 0 to 3, got ${kind}`);
  }
}

/** What a handler knows of a call besides its arguments. */
export interface CallContext {
  /** The connection of the call, on which the handler can make calls itself. */
  readonly connection: Connection;
  readonly metadata: Metadata;
  /** Aborted when nobody waits for the result any more. */
  readonly signal: AbortSignal;
}

/** A call of the peer. */
export interface IncomingCall {
  readonly args: Uint8Array;
  readonly context: CallContext;
  /** Bind the ends of channels that are in the arguments. */
  bind(ends: readonly ChannelEnd[]): void;
}

/** Answers the calls of one method with the bytes of a result. */
export type Route = (call: IncomingCall) => Promise<Uint8Array>;

/** Answers calls, by the ids of their methods. */
export type Handler = ReadonlyMap<bigint, Route>;

/** Return the entry of a handler for one method. A method that declares no error returns
 * `ok` of its value as well. */
export function route<A extends readonly unknown[], T, E>(
  method: Method<A, T, E>,
  answer: (args: A, context: CallContext) => Promise<Result<T, E>>,
): [bigint, Route] {
  return [
    method.id,
    async ({ args, context, bind }) => {
      const from = new Reader(args);
      let values: A;
      try {
        values = method.args.read(from);
        from.end();
      } catch (error) {
        if (error instanceof DecodeError) return INVALID_PAYLOAD;
        throw error;
      }
      bind(from.ends);
      try {
        return encodeResult(method, await answer(values, context));
      } catch (error) {
        for (const end of from.ends) end.leave();
        throw error;
      }
    },
  ];
}
