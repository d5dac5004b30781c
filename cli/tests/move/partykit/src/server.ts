import type * as Party from "partykit/server";
import { nanoid } from "./id";
import { userOf } from "./auth";
import type { Said, ToClient } from "./shared";

const GREETING = "Welcome to the talk.";
const HISTORY_MAX = 100;
const OLD_MS = 24 * 60 * 60 * 1000;
const SINGLETON = "index";

export default class TalkServer implements Party.Server {
  messages: Said[] = [];

  constructor(readonly room: Party.Room) {}

  static async onBeforeConnect(request: Party.Request, lobby: Party.Lobby) {
    try {
      request.headers.set("X-User-ID", await userOf(request, lobby.env));
      return request;
    } catch (error) {
      console.log(`refused: ${error}`);
      return new Response("Unauthorized", { status: 401 });
    }
  }

  static async onCron(cron: Party.Cron, lobby: Party.CronLobby) {
    const rooms = await lobby.parties.lobby!.get(SINGLETON).fetch();
    for (const id of Object.keys(await rooms.json() as Record<string, number>)) {
      await lobby.parties.main!.get(id).fetch({ method: "DELETE", headers: { "X-Cron": `${cron.name} ${cron.cron}` } });
    }
  }

  async onStart() {
    this.messages = (await this.room.storage.get<Said[]>("messages")) ?? [];
    this.tell({ type: "greeting", greeting: GREETING });
  }

  async onConnect(connection: Party.Connection<{ name: string }>, { request }: Party.ConnectionContext) {
    connection.setState({ name: request.headers.get("X-User-ID") ?? "nobody" });
    const message: ToClient = { type: "history", greeting: GREETING, messages: this.messages };
    connection.send(JSON.stringify(message));
    await this.report();
  }

  async onMessage(message: string, sender: Party.Connection<{ name: string }>) {
    const said: Said = { id: nanoid(), name: sender.state?.name ?? "nobody", text: message, at: Date.now() };
    this.messages = [...this.messages, said].slice(-HISTORY_MAX);
    await this.room.storage.put("messages", this.messages);
    this.tell({ type: "said", ...said });
  }

  async onClose() {
    await this.report();
  }

  async onRequest(request: Party.Request) {
    if (request.method === "GET") return Response.json(this.messages);
    if (request.method === "DELETE" && request.headers.get("X-Cron") === "prune 0 3 * * *") {
      const before = this.messages.length;
      this.messages = this.messages.filter(({ at }) => Date.now() - at < OLD_MS);
      await this.room.storage.put("messages", this.messages);
      return Response.json({ pruned: before - this.messages.length });
    }
    return new Response("Method not allowed", { status: 405 });
  }

  private tell(message: ToClient) {
    this.room.broadcast(JSON.stringify(message));
  }

  /** Tells the lobby how many people are here. */
  private async report() {
    const connections = [...this.room.getConnections()].length;
    const lobby = this.room.context.parties.lobby!.get(SINGLETON);
    await lobby.fetch({ method: "POST", body: JSON.stringify({ room: this.room.id, connections }) });
  }
}

TalkServer satisfies Party.Worker;
