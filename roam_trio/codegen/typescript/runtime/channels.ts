// Channels: streams of items from one peer to the other, under credit.

import type { Body } from "./envelope.js";
import { ChannelError, ChannelReset, ConnectionLost, errorOf } from "./errors.js";
import { type Codec, decode, encode } from "./postcard.js";

/** The connection of a channel, as the channel sees it. */
export interface ChannelPort {
  send(body: Body): void;
  /** End the session, because the peer has broken a rule. */
  violated(description: string): void;
  opened(id: bigint, half: Outgoing<unknown> | Incoming<unknown>): void;
  ended(id: bigint): void;
}

/** An end of a channel that is in the arguments of a call. */
export interface ChannelEnd {
  /** Begin to send or to receive. */
  bind(port: ChannelPort, id: bigint): void;
  /** Give the channel up: the call has failed. */
  fail(error: Error): void;
  /** Close or reset the channel, if it is not over. */
  leave(): void;
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

interface Unsent extends Waiting<void> {
  readonly item: Uint8Array;
}

/** The sending half of a bound channel. */
export class Outgoing<T> {
  private readonly port: ChannelPort;
  private readonly id: bigint;
  private readonly codec: Codec<T>;
  private credit: number;
  private unsent: Unsent[] = [];
  private isClosing = false;
  private over: Error | null = null;

  constructor(port: ChannelPort, id: bigint, codec: Codec<T>, credit: number) {
    this.port = port;
    this.id = id;
    this.codec = codec;
    this.credit = credit;
    port.opened(id, this as unknown as Outgoing<unknown>);
  }

  async send(value: T): Promise<void> {
    if (this.isClosing) throw new ChannelError("the channel is closed; nothing can be sent on it");
    if (this.over) throw this.over;
    const item = encode(this.codec, value);
    return new Promise((resolve, reject) => {
      this.unsent.push({ item, resolve, reject });
      this.flush();
    });
  }

  close(): void {
    if (this.over || this.isClosing) return;
    this.isClosing = true;
    this.flush();
  }

  onGrant(additional: number): void {
    this.credit += additional;
    this.flush();
  }

  onReset(): void {
    this.end(new ChannelReset("the receiver needs no more items of the channel"));
  }

  end(error: Error): void {
    if (this.over) return;
    this.over = error;
    this.port.ended(this.id);
    for (const each of this.unsent) each.reject(error);
    this.unsent = [];
  }

  private flush(): void {
    while (this.credit > 0) {
      const next = this.unsent.shift();
      if (next === undefined) break;
      try {
        this.port.send({ is: "Item", id: this.id, item: next.item });
        this.credit--;
        next.resolve();
      } catch (error) {
        next.reject(errorOf(error)); // larger than what goes into a message
      }
    }
    if (this.isClosing && this.unsent.length === 0) {
      this.port.send({ is: "Close", id: this.id });
      this.end(new ChannelError("the channel is closed; nothing can be sent on it"));
    }
  }
}

/** The receiving half of a bound channel. */
export class Incoming<T> {
  private readonly port: ChannelPort;
  private readonly id: bigint;
  private readonly codec: Codec<T>;
  private readonly window: number;
  /** The number of items that the peer may still send. */
  private outstanding: number;
  private taken = 0;
  private items: T[] = [];
  private waiting: Waiting<IteratorResult<T, undefined>>[] = [];
  private over: "closed" | Error | null = null;

  constructor(port: ChannelPort, id: bigint, codec: Codec<T>, credit: number) {
    this.port = port;
    this.id = id;
    this.codec = codec;
    this.window = credit;
    this.outstanding = credit;
    port.opened(id, this as unknown as Incoming<unknown>);
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.items.length > 0) {
      const value = this.items.shift() as T;
      this.grantTaken();
      return { done: false, value };
    }
    if (this.over === "closed") return { done: true, value: undefined };
    if (this.over) throw this.over;
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      if (this.window === 0 && this.outstanding < this.waiting.length) this.grant(1);
    });
  }

  reset(): void {
    if (this.over === null) {
      this.port.send({ is: "Reset", id: this.id });
      this.end("closed");
    }
    this.items = [];
  }

  onItem(bytes: Uint8Array): void {
    if (this.outstanding === 0) {
      this.port.violated(`an item on channel ${this.id} came without credit`);
      return;
    }
    this.outstanding--;
    let value: T;
    try {
      value = decode(this.codec, bytes);
    } catch (error) {
      this.port.send({ is: "Reset", id: this.id });
      this.end(errorOf(error));
      return;
    }
    const first = this.waiting.shift();
    if (first === undefined) {
      this.items.push(value);
    } else {
      first.resolve({ done: false, value });
      this.grantTaken();
    }
  }

  end(reason: "closed" | Error): void {
    if (this.over !== null) return;
    this.over = reason;
    this.port.ended(this.id);
    for (const each of this.waiting) {
      if (reason === "closed") each.resolve({ done: true, value: undefined });
      else each.reject(reason);
    }
    this.waiting = [];
  }

  private grantTaken(): void {
    if (this.window === 0) return;
    this.taken++;
    if (this.taken >= Math.max(1, this.window >> 1)) this.grant(this.taken);
  }

  private grant(additional: number): void {
    this.taken = 0;
    if (this.over !== null) return;
    this.outstanding += additional;
    this.port.send({ is: "Grant", id: this.id, additional });
  }
}

/** The half of a channel that a handle uses, once there is one. */
class Binding<H> {
  half: H | null = null;
  error: Error | null = null;
  private waiting: Waiting<H>[] = [];

  async get(): Promise<H> {
    if (this.half) return this.half;
    if (this.error) throw this.error;
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  set(half: H): void {
    this.half = half;
    for (const each of this.waiting) each.resolve(half);
    this.waiting = [];
  }

  fail(error: Error): void {
    this.error = error;
    for (const each of this.waiting) each.reject(error);
    this.waiting = [];
  }
}

/** The end of a channel that sends. */
export class Tx<T> {
  /** For the runtime. */
  readonly binding = new Binding<Outgoing<T>>();
  /** For the runtime: the other end, if this program has it as well. */
  partner: Rx<T> | null = null;
  private isClosed = false;

  /** Send an item, when there is credit for it. Items keep the order of their sends.
   *
   * Rejects with ChannelReset when the receiver needs no more. */
  async send(item: T): Promise<void> {
    const half = this.binding.half ?? (await this.binding.get());
    return half.send(item);
  }

  /** End the channel, after what was sent. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.binding.half) this.binding.half.close();
    else if (!this.binding.error) void this.binding.get().then((half) => half.close(), () => undefined);
  }
}

/** The end of a channel that receives: `for await (const item of rx)`.
 *
 * Leaving the loop early resets the channel. */
export class Rx<T> implements AsyncIterableIterator<T, undefined> {
  /** For the runtime. */
  readonly binding = new Binding<Incoming<T>>();
  /** For the runtime: the other end, if this program has it as well. */
  partner: Tx<T> | null = null;

  /** Wait for the next item, or for the end. */
  async next(): Promise<IteratorResult<T, undefined>> {
    const half = this.binding.half ?? (await this.binding.get());
    return half.next();
  }

  /** Tell the sender that no more items are needed. */
  reset(): void {
    if (this.binding.half) this.binding.half.reset();
    else if (!this.binding.error) void this.binding.get().then((half) => half.reset(), () => undefined);
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.reset();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Return both ends of a new channel. One of them goes into a call. */
export function channel<T>(): [Tx<T>, Rx<T>] {
  const sender = new Tx<T>();
  const receiver = new Rx<T>();
  sender.partner = receiver;
  receiver.partner = sender;
  return [sender, receiver];
}

function takePartner<P>(handle: { partner: P | null }): P {
  const { partner } = handle;
  if (partner === null) {
    throw new ChannelError("an end of a channel goes into one call only; make another with channel()");
  }
  handle.partner = null;
  return partner;
}

class SendingEnd<T> implements ChannelEnd {
  private readonly handle: Tx<T>;
  private readonly codec: Codec<T>;
  private readonly credit: number;

  constructor(handle: Tx<T>, codec: Codec<T>, credit: number) {
    this.handle = handle;
    this.codec = codec;
    this.credit = credit;
  }

  bind(port: ChannelPort, id: bigint): void {
    this.handle.binding.set(new Outgoing(port, id, this.codec, this.credit));
  }

  fail(error: Error): void {
    const { half } = this.handle.binding;
    if (half) half.end(error);
    else this.handle.binding.fail(error);
  }

  leave(): void {
    this.handle.close();
  }
}

class ReceivingEnd<T> implements ChannelEnd {
  private readonly handle: Rx<T>;
  private readonly codec: Codec<T>;
  private readonly credit: number;

  constructor(handle: Rx<T>, codec: Codec<T>, credit: number) {
    this.handle = handle;
    this.codec = codec;
    this.credit = credit;
  }

  bind(port: ChannelPort, id: bigint): void {
    this.handle.binding.set(new Incoming(port, id, this.codec, this.credit));
  }

  fail(error: Error): void {
    const { half } = this.handle.binding;
    if (half) half.end(error);
    else this.handle.binding.fail(error);
  }

  leave(): void {
    this.handle.reset();
  }
}

/** Return what binds the other end of a Tx that goes into a call: it receives. */
export function givenTx<T>(handle: Tx<T>, codec: Codec<T>, credit: number): ChannelEnd {
  return new ReceivingEnd(takePartner(handle), codec, credit);
}

/** Return what binds the other end of an Rx that goes into a call: it sends. */
export function givenRx<T>(handle: Rx<T>, codec: Codec<T>, credit: number): ChannelEnd {
  return new SendingEnd(takePartner(handle), codec, credit);
}

/** Return what binds a Tx that has come with a call. */
export function takenTx<T>(handle: Tx<T>, codec: Codec<T>, credit: number): ChannelEnd {
  return new SendingEnd(handle, codec, credit);
}

/** Return what binds an Rx that has come with a call. */
export function takenRx<T>(handle: Rx<T>, codec: Codec<T>, credit: number): ChannelEnd {
  return new ReceivingEnd(handle, codec, credit);
}

/** The channels of a connection by their ids. */
export class ChannelTable {
  private readonly halves = new Map<bigint, Outgoing<unknown> | Incoming<unknown>>();

  get size(): number {
    return this.halves.size;
  }

  has(id: bigint): boolean {
    return this.halves.has(id);
  }

  add(id: bigint, half: Outgoing<unknown> | Incoming<unknown>): void {
    this.halves.set(id, half);
  }

  remove(id: bigint): void {
    this.halves.delete(id);
  }

  /** Pass a message on. One for a channel that is over has crossed its end: drop it. */
  on(body: Body & { is: "Item" | "Close" | "Reset" | "Grant" }): void {
    const half = this.halves.get(body.id);
    if (half instanceof Incoming) {
      if (body.is === "Item") half.onItem(body.item);
      else if (body.is === "Close") half.end("closed");
    } else if (half instanceof Outgoing) {
      if (body.is === "Grant") half.onGrant(body.additional);
      else if (body.is === "Reset") half.onReset();
    }
  }

  end(error: ConnectionLost): void {
    for (const half of [...this.halves.values()]) half.end(error);
  }
}
