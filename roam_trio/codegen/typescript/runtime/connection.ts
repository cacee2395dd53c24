// A connection: its calls in both directions, and its channels.

import { CANCELLED, type CallContext, type Handler, type Method, type Outcome, type Result, UNKNOWN_METHOD, decodeResult } from "./calls.js";
import { Writer } from "./bytes.js";
import { type ChannelEnd, type ChannelPort, ChannelTable } from "./channels.js";
import type { Body, Settings } from "./envelope.js";
import { CallCancelled, ConnectionLost, DeadlineExceeded, InvalidPayload, RoamError, UnknownMethod, errorOf } from "./errors.js";
import { type Metadata, deadlineEntry, deadlineOf, failureOf } from "./metadata.js";

export interface CallOptions {
  /** Goes with the call. */
  readonly metadata?: Metadata;
  /** Cancels the call, at the peer as well. */
  readonly signal?: AbortSignal;
  /** The time for the call, in milliseconds. The peer learns of it. */
  readonly timeoutMs?: number;
}

/** The session of a connection, as the connection sees it. */
export interface ConnectionPort {
  /** Whether the peer knows the metadata entries that are beyond the protocol. */
  readonly knowsEntries: boolean;
  send(connection: bigint, body: Body): void;
  violated(description: string): void;
  handlerFailed(error: Error): void;
  /** Forget the connection, which is over. */
  forget(connection: bigint): void;
}

/** What the two peers have agreed on for a connection. */
export interface Agreement {
  readonly id: bigint;
  readonly ours: Settings;
  readonly theirs: Settings;
  readonly peerMetadata: Metadata;
  readonly handler: Handler;
}

interface Response {
  readonly ret: Uint8Array;
  readonly metadata: Metadata;
}

/** A call that has no response yet; one that was given up has nobody that waits. */
interface Pending {
  resolve(response: Response): void;
  reject(error: Error): void;
}

/** The caller gives the call up by itself at its deadline. Only if it cannot, the answer
 * comes first. */
const DEADLINE_SLACK_MS = 50;

const GIVEN_UP: Pending = { resolve: () => undefined, reject: () => undefined };

/** Ids of one parity, in order. */
class Ids {
  private last: bigint;

  constructor(settings: Settings) {
    this.last = settings.parity === "odd" ? -1n : 0n;
  }

  next(): bigint {
    this.last += 2n;
    return this.last;
  }
}

/** A namespace of calls and channels. Either side of it can call the other. */
export class Connection {
  readonly id: bigint;
  /** What the peer has sent with the handshake or the open. */
  readonly peerMetadata: Metadata;
  /** Settled when the connection is over, with the reason if there is one. */
  readonly closed: Promise<Error | null>;
  private readonly port: ConnectionPort;
  private readonly agreement: Agreement;
  private readonly requestIds: Ids;
  private readonly channelIds: Ids;
  private readonly pending = new Map<bigint, Pending>();
  private readonly served = new Map<bigint, AbortController>();
  private readonly channels = new ChannelTable();
  private readonly forSlots: { resolve(): void; reject(error: Error): void }[] = [];
  private used = 0;
  private over: Error | null = null;
  private settle: (reason: Error | null) => void = () => undefined;

  constructor(port: ConnectionPort, agreement: Agreement) {
    this.port = port;
    this.agreement = agreement;
    this.id = agreement.id;
    this.peerMetadata = agreement.peerMetadata;
    this.requestIds = new Ids(agreement.ours);
    this.channelIds = new Ids(agreement.ours);
    this.closed = new Promise((resolve) => (this.settle = resolve));
  }

  /** Call a method that declares no error. */
  async call<A extends readonly unknown[], T>(method: Method<A, T, never>, args: A, options: CallOptions = {}): Promise<T> {
    const result = await this.tryCall(method, args, options);
    if (!result.ok) throw new RoamError(`${method.name} has failed`);
    return result.value;
  }

  /** Call a method, and return its value or its own error.
   *
   * Rejects with UnknownMethod, InvalidPayload, CallCancelled, DeadlineExceeded or
   * ConnectionLost, and with the reason of the signal if it was aborted. */
  async tryCall<A extends readonly unknown[], T, E>(method: Method<A, T, E>, args: A, options: CallOptions = {}): Promise<Result<T, E>> {
    const ends: ChannelEnd[] = [];
    let outcome: Outcome<T, E>;
    let response: Response;
    try {
      response = await this.request(method, args, options, ends);
      outcome = decodeResult(method, response.ret);
    } catch (error) {
      for (const end of ends) end.leave();
      throw error;
    }
    if (typeof outcome === "object") return outcome;
    if (outcome === "cancelled") {
      const failure = failureOf(response.metadata);
      if (failure.code === "deadline") throw new DeadlineExceeded(`${method.name} was ended by the peer at its deadline`);
      throw new CallCancelled(method.name, failure);
    }
    const error =
      outcome === "unknown method"
        ? new UnknownMethod(`the peer has no method ${method.name} of these types`)
        : new InvalidPayload(`the peer could not decode the arguments of ${method.name}`);
    for (const end of ends) end.fail(error);
    throw error;
  }

  /** Close the connection, which ends its calls and channels. The root ends with its
   * session only. */
  close(): void {
    if (this.over || this.id === 0n) return;
    this.port.send(this.id, { is: "CloseConnection", metadata: [] });
    this.end(null);
  }

  // ---------------------------------------------------------------- calls of ours

  private async request<A extends readonly unknown[], T, E>(
    method: Method<A, T, E>,
    args: A,
    options: CallOptions,
    ends: ChannelEnd[],
  ): Promise<Response> {
    const giveUp = new GivingUp(method.name, options);
    try {
      await this.slot(giveUp);
      const to = new Writer();
      const id = this.requestIds.next();
      let channels: bigint[];
      try {
        method.args.write(to, args);
        channels = to.ends.map(() => this.channelIds.next());
        const metadata = giveUp.metadataOf(this.port.knowsEntries);
        this.port.send(this.id, { is: "Call", id, method: method.id, channels, metadata, args: to.finish() });
      } catch (error) {
        for (const end of to.ends) end.fail(errorOf(error));
        this.freeSlot();
        throw error;
      }
      ends.push(...to.ends);
      const response = this.responseTo(id, giveUp);
      this.bind(ends, channels);
      return await response;
    } finally {
      giveUp.forget();
    }
  }

  private responseTo(id: bigint, giveUp: GivingUp): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      giveUp.whenGivenUp((reason) => {
        if (!this.pending.has(id)) return;
        this.pending.set(id, GIVEN_UP);
        this.port.send(this.id, { is: "Cancel", id });
        reject(reason);
      });
    });
  }

  private async slot(giveUp: GivingUp): Promise<void> {
    if (this.over) throw this.over;
    if (giveUp.reason) throw giveUp.reason;
    if (this.used < this.agreement.theirs.maxConcurrentRequests && this.forSlots.length === 0) {
      this.used++;
      return;
    }
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      this.forSlots.push(waiting);
      giveUp.whenGivenUp((reason) => {
        const index = this.forSlots.indexOf(waiting);
        if (index >= 0) this.forSlots.splice(index, 1);
        reject(reason);
      });
    });
  }

  private freeSlot(): void {
    const next = this.forSlots.shift();
    if (next === undefined) this.used--;
    else next.resolve();
  }

  // ---------------------------------------------------------------- messages of the peer's

  /** For the session: take a message of the peer's. */
  on(body: Body): void {
    switch (body.is) {
      case "Call":
        return this.onCall(body);
      case "Response":
        return this.onResponse(body);
      case "Cancel":
        return this.onCancel(body.id);
      case "Item":
      case "Close":
      case "Reset":
      case "Grant":
        return this.channels.on(body);
      case "CloseConnection":
        if (this.id === 0n) return this.port.violated("the root connection was closed");
        return this.end(null);
      default:
        this.port.violated(`${body.is} on a connection that is open`);
    }
  }

  private onCall(call: Body & { is: "Call" }): void {
    const { id, metadata } = call;
    if (this.served.has(id)) {
      return this.port.violated(`request ${id} is in flight already`);
    }
    const most = this.agreement.ours.maxConcurrentRequests;
    if (this.served.size >= most) {
      return this.port.violated(`more than ${most} requests at a time`);
    }
    const channels = new Set(call.channels);
    if (channels.size < call.channels.length || call.channels.some((each) => this.channels.has(each))) {
      return this.port.violated(`request ${id} has a channel that is in use already`);
    }
    const handle = this.agreement.handler.get(call.method);
    if (handle === undefined) {
      return this.port.send(this.id, { is: "Response", id, metadata: [], ret: UNKNOWN_METHOD });
    }
    const controller = new AbortController();
    this.served.set(id, controller);
    const timer = this.deadline(id, deadlineOf(metadata));
    const context: CallContext = { connection: this, metadata, signal: controller.signal };
    handle({ args: call.args, context, bind: (ends) => this.bind(ends, call.channels) })
      .then(
        (ret) => this.respond(id, controller, ret),
        (error: unknown) => {
          if (!controller.signal.aborted) this.port.handlerFailed(errorOf(error));
          this.respond(id, controller, CANCELLED, "failed");
        },
      )
      // A result may be too large to be sent.
      .catch((error: unknown) => {
        this.port.handlerFailed(errorOf(error));
        this.respond(id, controller, CANCELLED, "failed");
      })
      .finally(() => clearTimeout(timer));
  }

  private deadline(id: bigint, milliseconds: number | null): ReturnType<typeof setTimeout> | undefined {
    if (milliseconds === null) return undefined;
    return setTimeout(() => this.onCancel(id, "deadline"), milliseconds + DEADLINE_SLACK_MS);
  }

  private respond(id: bigint, controller: AbortController, ret: Uint8Array, code = ""): void {
    // A call that was cancelled has its response, and its id may be that of another.
    if (this.over || this.served.get(id) !== controller) return;
    const metadata = code && this.port.knowsEntries ? [{ key: "error-code", value: code }] : [];
    this.port.send(this.id, { is: "Response", id, metadata, ret });
    this.served.delete(id);
  }

  private onCancel(id: bigint, code = ""): void {
    const controller = this.served.get(id);
    if (controller === undefined) return;
    this.respond(id, controller, CANCELLED, code);
    controller.abort();
  }

  private onResponse({ id, ret, metadata }: Body & { is: "Response" }): void {
    const pending = this.pending.get(id);
    if (pending === undefined) {
      return this.port.violated(`a response to request ${id}, which is not in flight`);
    }
    this.pending.delete(id);
    this.freeSlot();
    pending.resolve({ ret, metadata });
  }

  private bind(ends: readonly ChannelEnd[], ids: readonly bigint[]): void {
    const port: ChannelPort = {
      send: (body) => this.port.send(this.id, body),
      violated: (description) => this.port.violated(description),
      opened: (id, half) => this.channels.add(id, half),
      ended: (id) => this.channels.remove(id),
    };
    ends.forEach((end, index) => {
      const id = ids[index];
      if (id === undefined) end.fail(new RoamError("the call has too few channel ids"));
      else end.bind(port, id);
    });
  }

  /** For the session: end everything. */
  end(reason: Error | null): void {
    if (this.over) return;
    const lost = new ConnectionLost(`the connection has ended${reason ? `: ${reason.message}` : ""}`, { cause: reason });
    this.over = lost;
    this.port.forget(this.id);
    for (const each of [...this.pending.values(), ...this.forSlots]) each.reject(lost);
    this.pending.clear();
    this.forSlots.length = 0;
    this.channels.end(lost);
    for (const each of this.served.values()) each.abort();
    this.served.clear();
    this.settle(reason);
  }
}

/** When a call is given up: its signal is aborted, or its time is over. */
class GivingUp {
  private readonly options: CallOptions;
  private readonly timer: ReturnType<typeof setTimeout> | undefined;
  private readonly began = performance.now();
  private readonly abort: () => void;
  reason: Error | null = null;
  private tell: ((reason: Error) => void) | null = null;

  constructor(method: string, options: CallOptions) {
    this.options = options;
    const { signal, timeoutMs } = options;
    this.abort = () => this.because(errorOf(signal?.reason));
    if (timeoutMs !== undefined) {
      const late = new DeadlineExceeded(`${method} has taken more than ${timeoutMs} ms`);
      this.timer = setTimeout(() => this.because(late), timeoutMs);
    }
    signal?.addEventListener("abort", this.abort);
    if (signal?.aborted) this.abort();
  }

  /** Have a function called with the reason; it takes the place of the last one. */
  whenGivenUp(tell: (reason: Error) => void): void {
    this.tell = tell;
    if (this.reason) tell(this.reason);
  }

  metadataOf(knowsEntries: boolean): Metadata {
    const { metadata = [], timeoutMs } = this.options;
    if (timeoutMs === undefined || !knowsEntries) return metadata;
    return [...metadata, deadlineEntry(timeoutMs - (performance.now() - this.began))];
  }

  forget(): void {
    clearTimeout(this.timer);
    this.options.signal?.removeEventListener("abort", this.abort);
  }

  private because(reason: Error): void {
    this.reason ??= reason;
    this.tell?.(this.reason);
  }
}
