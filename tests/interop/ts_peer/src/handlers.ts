// What the peer does when it is called; as `handlers.py`.

import { setTimeout as sleep } from "node:timers/promises";

import {
  type Acceptance,
  type CallContext,
  type Figure,
  type FaultsHandler,
  type Handler,
  type Metadata,
  type Point,
  type Rx,
  type StreamsHandler,
  ChannelReset,
  type Tx,
  type ValuesHandler,
  type WaitingHandler,
  failed,
  faultsHandler,
  ok,
  streamsHandler,
  textOf,
  valuesHandler,
  waitingHandler,
} from "./generated.js";
import { valueOf } from "./values.js";

const echo: ValuesHandler = {
  integers: async (value) => value,
  scalars: async (value) => value,
  containers: async (value) => value,
  structs: async (...args) => [args[0], args[1], args[2], args[3], args[4]],
  colours: async (value) => value,
  spaced: async (value) => value,
  figures: async (value) => value,
  tree: async (value) => value,
  chain: async (value) => value,
  evaluate: async (value) => valueOf(value),
  expr: async (value) => value,
  page: async ({ items, total }) => ({ items: items.map(({ x, y }) => `${x}:${y}`), total }),
  nothing: async () => undefined,
  spelled: async (a, b, c, d, e, f, g, h, i, j) => [a, b, c, d, e, f, g, h, i, j].join(" "),
  borrowed: async (text, data) => `${text} ${data.length}`,
  lent: async (text) => (text ? "something" : "nothing"),
  ownedOrLent: async (text) => text || "lent",
  bytes: async (data) => data,
};

const failing: FaultsHandler = {
  divide: async (dividend, divisor) => (divisor === 0n ? failed({ dividend }) : ok(dividend / divisor)),
  async refuse(kind) {
    if (kind === 0) return failed({ is: "Closed" });
    if (kind === 1) return failed({ is: "TooMany", value: { limit: 300 } });
    if (kind === 2) return failed({ is: "NotOne", value: "not one" });
    return ok("granted");
  },
  paint: async (colour) => (colour === "Green" ? ok(undefined) : failed(colour)),
  complain: async (text) => failed(text),
  async breakDown() {
    throw new Error("on purpose");
  },
  decide: async (yes) => yes,
};

async function totalOf(numbers: Rx<number>): Promise<bigint> {
  let total = 0n;
  for await (const number of numbers) total += BigInt(number);
  return total;
}

async function sendUpTo(end: number, numbers: Tx<number>): Promise<number> {
  let sent = 0;
  try {
    for (; sent < end; sent++) await numbers.send(sent);
  } catch (error) {
    if (!(error instanceof ChannelReset)) throw error;
  }
  numbers.close();
  return sent;
}

function reversed(text: string): string {
  return [...text].reverse().join("");
}

const streaming: StreamsHandler = {
  async sum(numbers) {
    let total = 0n;
    for await (const number of numbers) total += number;
    return total;
  },
  count: (end, numbers) => sendUpTo(end, numbers),
  async reversed(texts, out) {
    let seen = 0;
    for await (const text of texts) {
      await out.send(reversed(text));
      seen++;
    }
    out.close();
    return seen;
  },
  async draw(corners, figures) {
    const seen: Point[] = [];
    for await (const corner of corners) {
      seen.push(corner);
      const figure: Figure = { is: "Polygon", value: [...seen] };
      await figures.send(figure);
    }
    figures.close();
  },
  sumNarrow: (numbers) => totalOf(numbers),
  sumWide: (numbers) => totalOf(numbers),
  async countNarrow(end, numbers) {
    await sendUpTo(end, numbers);
  },
  async countWide(end, numbers) {
    await sendUpTo(end, numbers);
  },
  async countWidest(end, numbers) {
    await sendUpTo(end, numbers);
  },
  async sumLate(numbers) {
    await sleep(300);
    return totalOf(numbers);
  },
  sumInOrder: (order) => totalOf(order.numbers),
  sumIfGiven: async (numbers) => (numbers === null ? null : totalOf(numbers)),
  async take(number, numbers) {
    let total = 0n;
    for (let taken = 0; taken < number; taken++) {
      const next = await numbers.next();
      total += BigInt(next.value ?? 0);
    }
    numbers.reset();
    return total;
  },
  async measure(blobs) {
    let size = 0;
    for await (const blob of blobs) size += blob.length;
    return BigInt(size);
  },
  async fill(size, blobs) {
    for (let filling = 0; filling < 4; filling++) {
      await blobs.send(new Uint8Array(size).fill(filling));
    }
    blobs.close();
  },
  async later(end, numbers) {
    void sendUpTo(end, numbers);
  },
};

/** Resolves when the call is cancelled, or its session has ended. */
function aborted({ signal }: CallContext): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

class Patient implements WaitingHandler {
  private readonly namesBegun: string[] = [];
  private readonly namesEnded: string[] = [];
  private meeting: (() => void)[] = [];

  async forever(name: string, context: CallContext): Promise<void> {
    this.namesBegun.push(name);
    await aborted(context);
    this.namesEnded.push(name);
  }

  async meet(number: number): Promise<number> {
    await new Promise<void>((resolve) => {
      this.meeting.push(resolve);
      if (this.meeting.length < number) return;
      for (const each of this.meeting) each();
      this.meeting = [];
    });
    return number;
  }

  async begun(): Promise<string[]> {
    return this.namesBegun;
  }

  async ended(): Promise<string[]> {
    return this.namesEnded;
  }

  async add(left: number, right: number): Promise<number> {
    return (left + right) % 2 ** 32;
  }
}

/** All the services, of one session. */
export class Everything {
  /** Answers calls of all of them. */
  readonly handler: Handler;
  private readonly byName: ReadonlyMap<string, Handler>;

  constructor() {
    this.byName = new Map([
      ["values", valuesHandler(echo)],
      ["faults", faultsHandler(failing)],
      ["streams", streamsHandler(streaming)],
      ["waiting", waitingHandler(new Patient())],
    ]);
    this.handler = new Map([...this.byName.values()].flatMap((each) => [...each]));
  }

  /** Decide on a connection that the peer opens. */
  accept(metadata: Metadata): Acceptance | string {
    const handler = this.byName.get(textOf(metadata, "service") ?? "");
    if (handler === undefined) return "there is no such service";
    // As on the root: the tests look from one connection at what happens on another.
    return { handler: this.handler, metadata: [{ key: "accepted-by", value: "typescript" }] };
  }
}
