// The page: it calls, streams in both directions, and watches whether the server drains.

import { BoardClient, HealthClient, type HealthState, type Session, channel, connect } from "./board.js";

const ITEMS = 10_000;

function show(id: string, text: string): void {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
}

// region use
async function use(session: Session): Promise<void> {
  const board = new BoardClient(await session.open("board"));
  show("sum", String(await board.add(19, 23)));
  const withdrawn = await board.withdraw(1000);
  show("error", withdrawn.ok ? `${withdrawn.value} left` : `${withdrawn.error.missing} are missing`);
  show("items", await stream(board));
}

async function stream(board: BoardClient): Promise<string> {
  const [numbers, there] = channel<number>();
  const [back, doubled] = channel<number>();
  const counting = board.double(there, back);
  const sending = async (): Promise<void> => {
    for (let number = 0; number < ITEMS; number++) await numbers.send(number);
    numbers.close();
  };
  const receiving = async (): Promise<number> => {
    let total = 0;
    for await (const number of doubled) total += number;
    return total;
  };
  const [count, total] = await Promise.all([counting, receiving(), sending()]);
  return `${count} sent, the sum of what came back is ${total}`;
}

// endregion use

/** Watch the server until it drains. */
async function watch(session: Session): Promise<void> {
  const health = new HealthClient(await session.open("health"));
  const [sent, states] = channel<HealthState>();
  const watching = health.watch("board", sent);
  for await (const state of states) {
    show("state", state);
    if (state === "Draining") break;
  }
  await watching;
}

async function main(): Promise<void> {
  const url = await (await fetch("url")).text();
  for (let visit = 1; ; visit++) {
    try {
      const session = await connect(url);
      show("session", `connected, number ${visit}`);
      await Promise.all([use(session), watch(session)]);
      session.close();
      show("session", "left");
    } catch (error) {
      show("session", String(error));
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

void main();
