// What the peer does as a caller: one scenario each, which says what was wrong.

import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";

import {
  AbsentClient,
  CallCancelled,
  type Codec,
  type Connection,
  ConnectionLost,
  ConnectionRejected,
  type Figure,
  FaultsClient,
  HealthClient,
  type HealthState,
  InvalidPayload,
  type Method,
  type Point,
  ReflectionClient,
  RoamError,
  type Rx,
  type Session,
  StreamsClient,
  type Tx,
  UnknownMethod,
  ValuesClient,
  WaitingClient,
  bool,
  channel,
  faultsDecide,
  tuple,
  u8,
} from "./generated.js";
import { CONTAINERS, EXPR, FIGURES, HIGHEST, LOWEST, PAGE, SCALARS, TREE, chain, valueOf } from "./values.js";

type Class<T> = abstract new (...args: never[]) => T;

function equal(what: string, got: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(got, expected)) {
    throw new Error(`${what}: expected ${shown(expected)}, got ${shown(got)}`);
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? `${each}n` : each)) ?? "nothing";
}

async function fails<T>(what: string, kind: Class<T>, call: Promise<unknown>): Promise<T> {
  try {
    const value = await call;
    throw new Error(`${what}: expected a failure, got ${shown(value)}`);
  } catch (error) {
    if (error instanceof kind) return error;
    throw new Error(`${what}: expected ${kind.name}`, { cause: error });
  }
}

async function sendAll<T>(items: Iterable<T>, tx: Tx<T>): Promise<void> {
  for (const item of items) await tx.send(item);
  tx.close();
}

async function received<T>(rx: Rx<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of rx) items.push(item);
  return items;
}

function below(end: number): number[] {
  return Array.from({ length: end }, (_, index) => index);
}

export async function run(scenario: string, number: number, connection: Connection, session: Session): Promise<void> {
  const streams = new StreamsClient(connection);
  const waiting = new WaitingClient(connection);
  const scenarios: Record<string, () => Promise<void>> = {
    values: () => values(new ValuesClient(connection)),
    faults: () => faults(connection),
    sum: () => sum(streams, number),
    count: () => count(streams, number),
    reversed: () => reversed(streams, number),
    draw: () => draw(streams),
    optional: () => optional(streams),
    take: () => take(streams, number),
    stop: () => stop(streams, number),
    later: () => later(streams, number),
    payloads: () => payloads(connection, number),
    concurrent: () => concurrent(waiting, number),
    meet: () => meet(waiting, number),
    abandon: () => abandon(waiting),
    late: () => late(waiting),
    forever: () => forever(waiting),
    reserved: () => reserved(session),
    connections: () => connections(session),
    many_connections: () => manyConnections(session, number),
  };
  const found = scenarios[scenario];
  if (found === undefined) throw new Error(`there is no scenario ${scenario}`);
  await found();
}

async function values(client: ValuesClient): Promise<void> {
  for (const integers of [LOWEST, HIGHEST]) equal("integers", await client.integers(integers), integers);
  equal("scalars", await client.scalars(SCALARS), SCALARS);
  equal("containers", await client.containers(CONTAINERS), CONTAINERS);
  const structs = await client.structs({ x: -1, y: 300 }, [7, "seven"], [300], -0.5, {});
  equal("structs", structs, [{ x: -1, y: 300 }, [7, "seven"], [300], -0.5, {}]);
  equal("colours", await client.colours(["Blue", "Red", "Green"]), ["Blue", "Red", "Green"]);
  equal("spaced", await client.spaced("Far"), "Far");
  equal("figures", await client.figures(FIGURES), FIGURES);
  equal("tree", await client.tree(TREE), TREE);
  equal("chain", await client.chain(chain(20)), chain(20));
  equal("evaluate", await client.evaluate(EXPR), valueOf(EXPR));
  equal("expr", await client.expr(EXPR), EXPR);
  equal("page", await client.page(PAGE), { items: ["1:2", "-3:4"], total: 1000 });
  equal("nothing", await client.nothing(), undefined);
  const unsigned = [HIGHEST.tiny, HIGHEST.small, HIGHEST.medium, HIGHEST.large, HIGHEST.huge] as const;
  const signed = [LOWEST.signed_tiny, LOWEST.signed_small, LOWEST.signed_medium, LOWEST.signed_large, LOWEST.signed_huge] as const;
  equal("spelled", await client.spelled(...unsigned, ...signed), [...unsigned, ...signed].join(" "));
  equal("borrowed", await client.borrowed("text", new Uint8Array([1, 2, 3])), "text 3");
  equal("lent", await client.lent("text"), "something");
  equal("ownedOrLent", await client.ownedOrLent("owned"), "owned");
}

async function faults(connection: Connection): Promise<void> {
  const client = new FaultsClient(connection);
  equal("divide", await client.divide(-7n, 2n), { ok: true, value: -3n });
  equal("divide by zero", await client.divide(7n, 0n), { ok: false, error: { dividend: 7n } });
  equal("refuse 0", await client.refuse(0), { ok: false, error: { is: "Closed" } });
  equal("refuse 1", await client.refuse(1), { ok: false, error: { is: "TooMany", value: { limit: 300 } } });
  equal("refuse 2", await client.refuse(2), { ok: false, error: { is: "NotOne", value: "not one" } });
  equal("refuse 3", await client.refuse(3), { ok: true, value: "granted" });
  equal("paint green", await client.paint("Green"), { ok: true, value: undefined });
  equal("paint blue", await client.paint("Blue"), { ok: false, error: "Blue" });
  equal("complain", await client.complain("why"), { ok: false, error: "why" });
  const cancelled = await fails("break_down", CallCancelled, client.breakDown());
  equal("the code of break_down", cancelled.code, "failed");
  const absent = new AbsentClient(connection);
  await fails("absent", UnknownMethod, absent.absent(1));
  await fails("refused", UnknownMethod, absent.refused(1));
  // A bool that is neither true nor false, and nothing.
  await fails("decide 7", InvalidPayload, decideOn(connection, tuple(u8), [7]));
  await fails("decide nothing", InvalidPayload, decideOn(connection, tuple(), []));
  equal("decide true", await decideOn(connection, tuple(bool), [true]), true);
}

function decideOn<A extends readonly unknown[]>(connection: Connection, codec: Codec<A>, args: A): Promise<boolean> {
  const method: Method<A, boolean, never> = { ...faultsDecide, args: codec };
  return connection.call(method, args);
}

async function sum(client: StreamsClient, number: number): Promise<void> {
  const [tx, rx] = channel<bigint>();
  const [got] = await Promise.all([client.sum(rx), sendAll(below(number).map(BigInt), tx)]);
  equal("sum", got, BigInt((number * (number - 1)) / 2));
}

async function count(client: StreamsClient, number: number): Promise<void> {
  const [tx, rx] = channel<number>();
  const [got, items] = await Promise.all([client.count(number, tx), received(rx)]);
  equal("count", got, number);
  equal("items", items, below(number));
}

async function reversed(client: StreamsClient, number: number): Promise<void> {
  const [tx, rx] = channel<string>();
  const [given, taken] = channel<string>();
  const texts = below(number).map((each) => `${String(each).padStart(5, "0")}é`);
  const [got, , items] = await Promise.all([client.reversed(rx, given), sendAll(texts, tx), received(taken)]);
  equal("reversed", got, number);
  equal("items", items, texts.map((text) => [...text].reverse().join("")));
}

async function draw(client: StreamsClient): Promise<void> {
  const [tx, rx] = channel<Point>();
  const [given, taken] = channel<Figure>();
  const corners = below(20).map((x) => ({ x, y: x === 0 ? 0 : -x }));
  const [, , figures] = await Promise.all([client.draw(rx, given), sendAll(corners, tx), received(taken)]);
  equal("figures", figures, corners.map((_, end) => ({ is: "Polygon", value: corners.slice(0, end + 1) })));
}

async function optional(client: StreamsClient): Promise<void> {
  equal("not given", await client.sumIfGiven(null), null);
  const [tx, rx] = channel<number>();
  const [got] = await Promise.all([client.sumIfGiven(rx), sendAll([1, 2, 300], tx)]);
  equal("given", got, 303n);
}

/** The other side needs no more of the items, which a reset tells. */
async function take(client: StreamsClient, number: number): Promise<void> {
  const [tx, rx] = channel<number>();
  const sending = async (): Promise<string> => {
    try {
      for (;;) await tx.send(1);
    } catch (error) {
      return error instanceof RoamError ? error.name : String(error);
    }
  };
  const [got, ended] = await Promise.all([client.take(number, rx), sending()]);
  equal("take", got, BigInt(number));
  console.log(`sending ended by ${ended}`);
}

/** Leaves a channel on which the other side sends. */
async function stop(client: StreamsClient, number: number): Promise<void> {
  const [tx, rx] = channel<number>();
  const counting = client.count(1000, tx);
  let expected = 0;
  for await (const item of rx) {
    equal("item", item, expected++);
    if (expected === number) break;
  }
  const sent = await counting;
  console.log(`count ${sent < 1000 ? "answered early" : "went on"}`);
  await count(client, 100);
}

async function later(client: StreamsClient, number: number): Promise<void> {
  const [tx, rx] = channel<number>();
  await client.later(number, tx);
  equal("items", await received(rx), below(number));
}

async function payloads(connection: Connection, size: number): Promise<void> {
  const data = Uint8Array.from({ length: size }, (_, place) => place % 251);
  const got = await new ValuesClient(connection).bytes(data);
  equal("bytes are the same", Buffer.compare(got, data), 0);
  const client = new StreamsClient(connection);
  const [tx, rx] = channel<Uint8Array>();
  const [measured] = await Promise.all([client.measure(rx), sendAll(Array<Uint8Array>(4).fill(data), tx)]);
  equal("measure", measured, 4n * BigInt(size));
  const [given, taken] = channel<Uint8Array>();
  const [, blobs] = await Promise.all([client.fill(size, given), received(taken)]);
  equal("blobs", blobs.map((blob) => blob.length), Array(4).fill(size));
  equal("fillings", blobs.every((blob, filling) => blob.every((each) => each === filling)), true);
}

async function concurrent(client: WaitingClient, number: number): Promise<void> {
  const sums = await Promise.all(below(number).map((left) => client.add(left, 1)));
  equal("sums", sums, below(number).map((left) => left + 1));
}

async function meet(client: WaitingClient, number: number): Promise<void> {
  equal("met", await Promise.all(below(number).map(() => client.meet(number))), Array(number).fill(number));
}

async function untilNamed(names: () => Promise<string[]>, name: string): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if ((await names()).includes(name)) return;
    await sleep(5);
  }
  throw new Error(`${name} was not named`);
}

/** Gives up a call with which the other side is busy. */
async function abandon(client: WaitingClient): Promise<void> {
  const controller = new AbortController();
  const call = client.forever("abandoned", { signal: controller.signal });
  await untilNamed(() => client.begun(), "abandoned");
  controller.abort(new Error("given up"));
  equal("the reason", (await fails("forever", Error, call)).message, "given up");
  await untilNamed(() => client.ended(), "abandoned");
  console.log(`ended ${(await client.ended()).join(" ")}`);
}

/** A call whose time is over. */
async function late(client: WaitingClient): Promise<void> {
  const failure = await fails("forever", RoamError, client.forever("late", { timeoutMs: 50 }));
  console.log(failure.name === "DeadlineExceeded" ? "late" : `failed with ${failure.name}`);
  await untilNamed(() => client.ended(), "late");
}

/** The other side ends the session in which the call is. */
async function forever(client: WaitingClient): Promise<void> {
  const failure = await fails("forever", RoamError, client.forever("by-typescript"));
  console.log(failure.name);
}

async function connections(session: Session): Promise<void> {
  const first = await session.open("values");
  const second = await session.open("streams");
  console.log(`opened ${first.id} ${second.id}`);
  const streams = new StreamsClient(second);
  await Promise.all([values(new ValuesClient(first)), count(streams, 500)]);
  await fails("open nobody", ConnectionRejected, session.open("nobody"));
  console.log("rejected");
  second.close();
  await fails("a closed connection", ConnectionLost, streams.count(1, channel<number>()[0]));
  console.log("closed");
  await values(new ValuesClient(first));
}

/** Asks what is offered, and watches it until the peer shuts down. */
async function reserved(session: Session): Promise<void> {
  const reflection = new ReflectionClient(await session.open("reflection"));
  console.log(`services ${(await reflection.services()).join(" ")}`);
  const [tx, rx] = channel<Uint8Array>();
  const [number, parts] = await Promise.all([reflection.describe("waiting", tx), received(rx)]);
  equal("parts", number, { ok: true, value: parts.length });
  console.log(`described ${Buffer.concat(parts).toString()}`);
  const nobody = await reflection.describe("nobody", channel<Uint8Array>()[0]);
  equal("describe nobody", nobody, { ok: false, error: "Unknown" });

  const health = new HealthClient(await session.open("health"));
  equal("state", await health.state("waiting"), { ok: true, value: "Serving" });
  equal("the state of nobody", await health.state("nobody"), { ok: false, error: "Unknown" });
  const [states, watched] = channel<HealthState>();
  const watching = async (): Promise<void> => {
    for await (const state of watched) console.log(`state ${state}`);
  };
  await Promise.all([health.watch("waiting", states), watching()]);
}

async function manyConnections(session: Session, number: number): Promise<void> {
  const clients: WaitingClient[] = [];
  for (let each = 0; each < number; each++) clients.push(new WaitingClient(await session.open("waiting")));
  for (const [left, client] of clients.entries()) {
    await concurrent(client, 3);
    equal("add", await client.add(left, 1), left + 1);
  }
}
