// A room as it is written for PartyKit, with everything of its API.
//
// A client's message is a question, with words behind it; the answer goes back as JSON.

import type * as Party from "partykit/server";

type Sender = Party.Connection<any>;
type Answer = (kit: Kit, sender: Sender, words: string[]) => unknown;

/** What an error says. */
const said = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** What a function throws. */
function thrown(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return said(error);
  }
  return "nothing was thrown";
}

const ANSWERS: Record<string, Answer> = {
  room: ({ room }) => [room.id, room.name, room.env.GREETING, /^[0-9a-f]{64}$/.test(room.internalID)],
  same: ({ room }) => [room.parties === room.context.parties, room.analytics.writeDataPoint({ blobs: ["a"] }) ?? null],
  absent: ({ room }) => {
    const context = room.context as any;
    return ["ai", "assets", "vectorize", "bindings"].map((name) => thrown(() => context[name]));
  },
  stub: async ({ room }, _, [name = ""]) => {
    const response = await room.context.parties.main!.get(name).fetch("/deep/path?q=1", { method: "POST", body: "hi" });
    return [response.status, await response.text()];
  },
  badPath: ({ room }) => room.context.parties.main!.get("b").fetch("deep").then(() => "went", said),
  stubSocket: ({ room }) => {
    const other = room.context.parties.main!.get("b");
    return [thrown(() => other.socket()), thrown(() => other.connect())];
  },
  list: ({ room }, _, [tag]) => [...room.getConnections(tag)].map(({ id }) => id),
  map: ({ room }) => [...room.connections].map(([id, connection]) => [id, connection.id]),
  one: ({ room }, sender, [id = ""]) => [room.getConnection(id) === sender, room.getConnection("nobody") ?? null],
  tell: ({ room }, sender) => room.broadcast("told", [sender.id]),
  tellAll: ({ room }) => room.broadcast(new Uint8Array([1, 2]).buffer),
  wait: async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return "waited";
  },
  block: ({ room }) => room.blockConcurrencyWhile(async () => "blocked"),
  waitUntil: ({ room }) => room.waitUntil(Promise.reject(new Error("in the background"))) ?? null,
  connection: (_, sender) => [sender.id, sender.uri, sender.url === sender.uri, sender.server, sender.tags, sender.readyState],
  state: (_, sender) => [
    sender.state,
    sender.setState({ n: 1 }),
    sender.setState((before: any) => ({ n: before.n + 1 })),
    sender.state,
    sender.deserializeAttachment(),
  ],
  bigState: (_, sender, [size]) => thrown(() => sender.setState("x".repeat(Number(size)))),
  attach: (_, sender) => [sender.serializeAttachment({ a: 1 }) ?? null, sender.state],
  legacyNames: (_, sender) => [sender.socket === sender, sender.accept() ?? null, sender.binaryType, sender.OPEN],
  last: (kit) => kit.last,
  events: (kit) => kit.events,
  alarm: async ({ room }, _, [at]) => {
    await room.storage.setAlarm(Number(at));
    return room.storage.getAlarm();
  },
};

export default class Kit implements Party.Server {
  readonly options = { hibernate: true };
  readonly events: unknown[] = [];
  last: unknown = null;

  constructor(readonly room: Party.Room) {
    this.events.push(`constructor ${room.id}`);
  }

  onStart() {
    this.events.push("start");
  }

  getConnectionTags(connection: Party.Connection, { request }: Party.ConnectionContext) {
    this.events.push(`tags ${connection.id}`);
    const asked = new URL(request.url).searchParams;
    if (asked.has("state")) connection.setState({ from: "tags" });
    return asked.getAll("tag");
  }

  async onConnect(connection: Party.Connection, { request }: Party.ConnectionContext) {
    this.events.push(`connect ${connection.id}`);
    const asked = new URL(request.url).searchParams;
    if (asked.has("fail")) throw new Error("not today");
    if (asked.has("hello")) connection.send(`hello ${request.headers.get("x-user")}`);
    if (asked.has("later")) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      connection.send("later");
    }
    if (asked.has("turnAway")) connection.close(4003, "turned away");
  }

  async onMessage(message: string | ArrayBuffer | ArrayBufferView, sender: Sender) {
    if (typeof message !== "string") {
      this.last = [message instanceof ArrayBuffer, [...new Uint8Array(message as ArrayBuffer)]];
      return;
    }
    const [question = "", ...words] = message.split(" ");
    if (question === "close") return words.length === 0 ? sender.close() : sender.close(Number(words[0]), words[1]);
    if (question === "closeThenSend") {
      sender.close(4001, "bye");
      this.last = [sender.readyState, thrown(() => sender.send("late")), [...this.room.getConnections()].length];
      return;
    }
    if (question === "throw") throw new Error("the author failed");
    const answer = ANSWERS[question];
    if (answer === undefined) this.last = message;
    else sender.send(JSON.stringify((await answer(this, sender, words)) ?? null));
  }

  onClose(connection: Party.Connection) {
    const listed = [...this.room.getConnections()].some(({ id }) => id === connection.id);
    this.events.push(`close ${connection.id} ${connection.readyState} ${listed}`);
  }

  onError(connection: Party.Connection, error: Error) {
    this.events.push(`error ${connection.id} ${error.message}`);
  }

  async onRequest(request: Party.Request) {
    const { pathname, search } = new URL(request.url);
    if (pathname.endsWith("/teapot")) throw Object.assign(new Error("short and stout"), { code: 418 });
    if (pathname.endsWith("/fail")) throw new Error("a secret of the author");
    return new Response(`${request.method} ${pathname}${search} ${await request.text()}`, { headers: { "x-room": this.room.id } });
  }

  async onAlarm() {
    const set = await this.room.storage.getAlarm();
    const to = Object.keys(this.room.context.parties.main!.get("x")).length > 0;
    this.events.push(`alarm ${this.room.id} ${set} ${to}`);
    this.room.broadcast("alarm");
  }
}

Kit satisfies Party.Worker;
