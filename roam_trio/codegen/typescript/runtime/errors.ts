// What can go wrong, as classes: catch a RoamError, or one of its kinds.

/** Anything that goes wrong with a call, a channel, a connection or a session. */
export class RoamError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** A value or its bytes are wrong; the text names the place, as in `$.corners[2].x`. */
export class ValueError extends RoamError {
  private readonly text: string;
  private path = "";

  constructor(text: string) {
    super(`$: ${text}`);
    this.text = text;
  }

  /** Put a step in front of the path to the place. */
  within(step: string): this {
    this.path = step + this.path;
    this.message = `$${this.path}: ${this.text}`;
    return this;
  }
}

/** A value does not have the type that the method declares. */
export class EncodeError extends ValueError {}

/** Bytes of the peer are not a value of the type that was expected. */
export class DecodeError extends ValueError {}

/** The peer has no method with this id. */
export class UnknownMethod extends RoamError {}

/** The peer could not decode the arguments of the call. */
export class InvalidPayload extends RoamError {}

/** What the peer has said about a call that it did not finish. */
export interface Failure {
  /** `failed`, `deadline`, `refused`, `unavailable`, `overloaded`, or the
   * application's own; empty if the peer has said nothing. */
  readonly code: string;
  readonly text: string;
  /** Eight digits that stand in the log of the peer as well. */
  readonly id: string;
  /** When to try again, in milliseconds. */
  readonly retryAfterMs: number | null;
}

/** The peer did not finish the call: its handler has failed, or the call was refused. */
export class CallCancelled extends RoamError implements Failure {
  readonly code: string;
  readonly text: string;
  readonly id: string;
  readonly retryAfterMs: number | null;

  constructor(method: string, failure: Failure) {
    const { code, text, id } = failure;
    const reason = [code, text, id && `id ${id}`].filter((part) => part).join(", ");
    super(`${method} was cancelled by the peer${reason && `: ${reason}`}`);
    this.code = code;
    this.text = text;
    this.id = id;
    this.retryAfterMs = failure.retryAfterMs;
  }
}

/** The time for a call is over. */
export class DeadlineExceeded extends RoamError {}

/** The connection or its session has ended; `cause` is the reason if there is one. */
export class ConnectionLost extends RoamError {}

/** The peer has rejected a connection. */
export class ConnectionRejected extends RoamError {}

/** One of the peers has broken a rule of the protocol, which ends the session. */
export class ProtocolViolation extends RoamError {}

/** A channel cannot be used as it was. */
export class ChannelError extends RoamError {}

/** The receiver of a channel needs no more items. */
export class ChannelReset extends ChannelError {}

/** Return an error with one more step of the path to the value that is wrong. */
export function within(error: unknown, step: string): unknown {
  return error instanceof ValueError ? error.within(step) : error;
}

/** Return anything that was thrown as an error. */
export function errorOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
