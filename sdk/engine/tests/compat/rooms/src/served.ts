// A room as it is written for PartyServer, with everything of its API, and the worker beside it.
//
// A client's message is a question, with words behind it; the answer goes back as JSON.

import {
  type Connection,
  type ConnectionContext,
  getServerByName,
  type PartyNamespace,
  routePartykitRequest,
  Server,
  WebSocketRequestResponsePair,
  type WSMessage,
} from "partyserver";

interface Env {
  GREETING: string;
  Served: PartyNamespace<Served>;
}

type Sender = Connection<any>;
type Answer = (room: Served, sender: Sender, words: string[]) => unknown;

const said = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function thrown(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    return said(error);
  }
  return "nothing was thrown";
}

const ANSWERS: Record<string, Answer> = {
  names: (room) => [room.name, room.inConstructor, room.ctx.id.name, String(room.ctx.id), room.env.GREETING],
  connection: (_, sender) => [sender.id, sender.tags, sender.server, sender.state, sender.readyState, sender.uri],
  setName: (room) => Promise.all([thrown(() => room.setName("lobby")), thrown(() => room.setName("other"))]),
  list: (room, _, [tag]) => [...room.getConnections(tag)].map(({ id }) => id),
  one: (room, sender, [id = ""]) => [room.getConnection(id) === sender, room.getConnection("nobody") ?? null],
  tell: (room, sender) => room.broadcast("told", [sender.id]),
  sql: (room) => thrown(() => room.sql`select 1`),
  sqlOfStorage: (room) => thrown(() => (room.ctx.storage.sql.exec as any)("select 1")),
  failures: (room) => room.failures,
  events: (room) => room.events,
  sockets: ({ ctx }, sender) => [ctx.getWebSockets().length, ctx.getWebSockets("red").map(({ id }) => id), ctx.getTags(sender)],
  pair: ({ ctx }) => {
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    const pair = ctx.getWebSocketAutoResponse();
    return [pair?.request, pair?.response];
  },
  accept: ({ ctx }) => thrown(() => ctx.acceptWebSocket()),
  alarm: ({ ctx }, _, [at]) => ctx.storage.setAlarm(new Date(Number(at))),
  abort: ({ ctx }) => ctx.abort("the room gives up"),
  block: ({ ctx }) => ctx.blockConcurrencyWhile(async () => "blocked"),
  waitUntil: ({ ctx }) => ctx.waitUntil(Promise.reject(new Error("in the background"))) ?? null,
  add: async (room, _, [name = "", by = "0"]) => (await getServerByName(room.env.Served, name)).add(Number(by)),
  ask: async (room, _, [name = ""]) => (await (await getServerByName(room.env.Served, name)).fetch("/sub?x=1")).text(),
  props: (room) => thrown(() => getServerByName(room.env.Served, "x", { props: { a: 1 } })),
  hinted: async (room) => (await getServerByName(room.env.Served, "x", { jurisdiction: "eu", locationHint: "weur", routingRetry: false })).name,
};

export class Served extends Server<Env> {
  static override options = { hibernate: true };

  readonly events: unknown[] = [];
  readonly failures: string[] = [];
  readonly inConstructor = this.name;

  override onStart(props?: Record<string, unknown>) {
    this.events.push(`start ${JSON.stringify(props)}`);
    if (this.ctx.storage.kv.get("broken") === true) throw new Error("it cannot start");
  }

  override getConnectionTags(_: Connection, { request }: ConnectionContext) {
    return new URL(request.url).searchParams.getAll("tag");
  }

  override onConnect(connection: Connection, { request }: ConnectionContext) {
    this.events.push(`connect ${connection.id} ${request.headers.get("x-seen")}`);
    if (request.url.includes("fail")) throw new Error("a secret of the author");
  }

  override async onMessage(connection: Sender, message: WSMessage) {
    if (typeof message !== "string") return;
    const [question = "", ...words] = message.split(" ");
    const answer = ANSWERS[question];
    if (answer !== undefined) connection.send(JSON.stringify((await answer(this, connection, words)) ?? null));
  }

  override onClose(connection: Connection, code: number, reason: string, wasClean: boolean) {
    this.events.push(`close ${connection.id} ${code} ${reason} ${wasClean} ${connection.readyState}`);
  }

  override onError(connection: Connection, error: unknown) {
    this.events.push(`error ${connection.id} ${said(error)}`);
  }

  override async fetch(request: Request) {
    if (request.url.endsWith("/intercepted")) return new Response("intercepted");
    return super.fetch(request);
  }

  override onRequest(request: Request): Response {
    const { pathname, search } = new URL(request.url);
    if (pathname.endsWith("/throw")) throw "not an error";
    return new Response(`${pathname}${search} ${request.headers.get("x-seen")}`);
  }

  override onAlarm() {
    this.broadcast(`alarm of ${this.name}`);
  }

  override onException(error: unknown) {
    this.failures.push(said(error));
  }

  add(by: number) {
    const { kv } = this.ctx.storage;
    const sum = (kv.get<number>("sum") ?? 0) + by;
    kv.put("sum", sum);
    return sum;
  }
}

/** What the hooks of the worker decide, by the query. */
function before(request: Request, lobby: { party: string; className: string; name: string }) {
  const ask = new URL(request.url).searchParams.get("ask");
  if (ask === "answer") return new Response("no entry", { status: 403 });
  if (ask === "throw") throw new Error("the hook failed");
  if (ask === "seen") return new Request(request, { headers: { "x-seen": `${lobby.party} ${lobby.className} ${lobby.name}` } });
  return undefined;
}

export default {
  async fetch(request: Request, env: Env) {
    if (request.url.includes("props=")) return routePartykitRequest(request, env, { props: { a: 1 } } as object);
    const routed = await routePartykitRequest(request, env, { cors: true, onBeforeConnect: before, onBeforeRequest: before });
    return routed ?? new Response("the worker's own page", { status: 404 });
  },
};
