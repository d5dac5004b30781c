import type * as Party from "partykit/server";
import type { ToClient } from "./shared";

export default class LobbyServer implements Party.Server {
  options: Party.ServerOptions = { hibernate: true };

  constructor(readonly room: Party.Room) {}

  async onConnect(connection: Party.Connection) {
    connection.send(JSON.stringify(await this.list()));
  }

  async onRequest(request: Party.Request) {
    if (request.method === "POST") {
      const { room, connections } = (await request.json()) as { room: string; connections: number };
      const rooms = (await this.room.storage.get<Record<string, number>>("rooms")) ?? {};
      rooms[room] = connections;
      await this.room.storage.put("rooms", rooms);
      this.room.broadcast(JSON.stringify(await this.list()));
    }
    return Response.json((await this.list()).rooms);
  }

  private async list(): Promise<Extract<ToClient, { type: "rooms" }>> {
    return { type: "rooms", rooms: (await this.room.storage.get<Record<string, number>>("rooms")) ?? {} };
  }
}

LobbyServer satisfies Party.Worker;
