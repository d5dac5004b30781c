// A room that does on demand whatever a room must not do. A client's message is the name of a fault; every other message
// comes back, with what the heap has of the marks that others left.

import { type Connection, Server, type WSMessage } from "partyserver";

const globals = globalThis as any;
const load = (name: string): Promise<unknown> => import(name);

const FAULTS: Record<string, (connection: Connection) => unknown> = {
  loop: () => {
    for (;;);
  },
  jobs: async () => {
    for (;;) await null;
  },
  chain: () => {
    const again = (): Promise<void> => Promise.resolve().then(again);
    return again();
  },
  pattern: () => /^(a+)+$/.test(`${"a".repeat(40)}!`),
  array: () => {
    const all: unknown[] = [];
    for (;;) all.push(new Array(10_000).fill(1)); // the array that grows
  },
  text: () => {
    let text = "x".repeat(1 << 20);
    for (;;) text = `${text}${text}y`; // the text that grows
  },
  repeated: () => "x".repeat(2 ** 31), // the text that is too long
  buffer: () => new Uint8Array(200 << 20), // the buffer that is too large
  sent: (connection) => connection.send("x".repeat(33 << 20)), // the message that is too large
  deep: () => {
    const down = (): number => down() + 1; // the call without an end
    return down();
  },
  nested: () => JSON.parse("[".repeat(1 << 20)), // the brackets of a client
  unread: () => JSON.stringify(JSON.parse(`${"[".repeat(4_000)}${"]".repeat(4_000)}`)).length,
  bomb: () => JSON.stringify(JSON.parse(`[${"[],".repeat(340_000)}[]]`)).length,
  rejection: () => void Promise.reject(new Error("nobody handles it")), // the loose rejection
  late: () => void setTimeout(() => { throw new Error("in a timer"); }, 10), // the timer that throws
  never: () => new Promise(() => {}),
  null: () => {
    throw null;
  },
  proxy: () => {
    const trap = () => {
      throw new Error("a trap");
    };
    throw new Proxy({}, { get: trap, getPrototypeOf: trap, has: trap, ownKeys: trap });
  },
  getter: () => {
    const get = () => {
      throw new Error("a getter");
    };
    throw Object.defineProperties(new TypeError("unread"), { message: { get }, stack: { get } });
  },
  network: () => load("https://example.com/x.js"),
  missing: () => load("./nothing.js"),
  pollute: () => {
    globals.Object.prototype.mark = "a room's";
    globals.mark = "a room's";
  },
  caught: (connection) => {
    for (const fault of ["deep", "nested", "repeated", "buffer"]) {
      try {
        FAULTS[fault]!(connection);
      } catch (error) {
        connection.send(`caught ${fault}: ${(error as Error).name}`);
      }
    }
  },
};

export default class Faulty extends Server {
  static onBeforeConnect(request: Request) {
    if (request.url.includes("hook=loop")) for (;;);
    if (request.url.includes("hook=deep")) FAULTS.deep!(null as never);
    globals.Object.prototype.mark = "a hook's";
    globals.mark = "a hook's";
    return request;
  }

  override async onMessage(connection: Connection, message: WSMessage) {
    await FAULTS[String(message)]?.(connection);
    connection.send(`${message}: ${globals.mark ?? "no mark"}, ${(({}) as any).mark ?? "no mark"}`);
  }
}
