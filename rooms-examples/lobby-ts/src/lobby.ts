// The lobby: it counts the rooms with people in them, shows the list live, and announces to all of them.
import { getServerByName, Server, type Connection, type WSMessage } from "roomkit/server";
import type { Entry, Env, ToClient } from "./messages";

const TEXT_LENGTH_MAX = 200;

export class Lobby extends Server<Env> {
  onConnect(connection: Connection) {
    connection.send(this.list());
  }

  /** Somebody in the lobby announces something. */
  async onMessage(_: Connection, data: WSMessage) {
    const text = typeof data === "string" ? data.trim().slice(0, TEXT_LENGTH_MAX) : "";
    if (text === "") return;
    const notice: ToClient = { type: "notice", text };
    this.broadcast(JSON.stringify(notice));
    const calls = this.entries().map(async ({ room }) => {
      const meeting = await getServerByName(this.env.Meeting, room);
      await meeting.announce(text);
    });
    await Promise.all(calls);
  }

  /** A room calls this whenever somebody comes or goes. */
  count(room: string, people: number) {
    const { kv } = this.ctx.storage;
    if (people > 0) kv.put(`room:${room}`, people);
    else kv.delete(`room:${room}`);
    this.broadcast(this.list());
  }

  /** The list for programs, such as curl. */
  onRequest() {
    return Response.json(this.entries());
  }

  private entries(): Entry[] {
    const stored = [...this.ctx.storage.kv.list<number>({ prefix: "room:" })];
    return stored.map(([key, people]) => ({ room: key.slice("room:".length), people }));
  }

  private list() {
    const message: ToClient = { type: "rooms", rooms: this.entries() };
    return JSON.stringify(message);
  }
}
