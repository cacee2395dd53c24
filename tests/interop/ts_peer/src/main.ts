// A peer for roam_trio's tests, on the runtime that `roam-trio typescript` embeds.
//
//     main.js serve listen|dial URL [options]            answers calls
//     main.js call listen|dial URL SCENARIO [NUMBER] [options]
//
// Who listens is the acceptor, and says where: `listening URL`. `--requests N` is how
// many requests it accepts at a time; `--ping MILLISECONDS` makes it ping, that often;
// `--open NAME` makes it call on a virtual connection for that service.

import { parseArgs } from "node:util";

import { run } from "./calls.js";
import { type Link, Session, type SessionOptions } from "./generated.js";
import { Everything } from "./handlers.js";
import { dial, listen } from "./links.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: "string", default: "64" },
    ping: { type: "string" },
    open: { type: "string" },
  },
});

function options(): SessionOptions {
  const everything = new Everything();
  return {
    handler: everything.handler,
    onConnection: (metadata) => everything.accept(metadata),
    metadata: [{ key: "peer", value: "typescript" }],
    maxConcurrentRequests: Number(values.requests),
    onHandlerError: (error) => {
      if (error.message !== "on purpose") console.error(error);
    },
    ...(values.ping === undefined ? {} : { pingMs: Number(values.ping) }),
  };
}

async function serve(session: Session): Promise<void> {
  await session.closed;
  console.log("ended");
}

async function call(session: Session, scenario: string, number: number): Promise<void> {
  const connection = values.open === undefined ? session.root : await session.open(values.open);
  await run(scenario, number, connection, session);
  console.log(`done ${scenario}`);
  session.close();
  await session.closed;
}

async function main(): Promise<void> {
  const [verb, way, url = "", scenario = "", number = "0"] = positionals;
  const act = (session: Session): Promise<void> =>
    verb === "serve" ? serve(session) : call(session, scenario, Number(number));
  if (way === "dial") {
    await act(await Session.initiate(await dial(url), options()));
    process.exit(0);
  }
  const accepted = async (link: Link): Promise<void> => {
    try {
      await act(await Session.accept(link, options()));
    } catch (error) {
      console.error("failed:", error);
      process.exit(1);
    }
    if (verb === "call") process.exit(0);
  };
  console.log(`listening ${await listen(url, (link) => void accepted(link))}`);
}

main().catch((error: unknown) => {
  console.error("failed:", error);
  process.exit(1);
});
