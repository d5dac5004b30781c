import { nanoid } from "nanoid/non-secure";
import { type Connection, type ConnectionContext, getServerByName, routePartykitRequest, Server, type WSMessage } from "partyserver";

interface Env {
  Desk: DurableObjectNamespace<Desk>;
  ROOM_LIST: DurableObjectNamespace<Listing>;
  TITLE: string;
  TOKEN: string;
}

const GREETING = "good morning";

export class Desk extends Server<Env> {
  static options = { hibernate: true };

  async onConnect(connection: Connection, { request }: ConnectionContext) {
    const list = await getServerByName(this.env.ROOM_LIST, "all");
    const visits = await list.visit(this.name);
    const user = request.headers.get("x-user");
    connection.send(`${GREETING} ${user}, visit ${visits} of ${this.name} in ${this.env.TITLE}`);
  }

  onMessage(connection: Connection, message: WSMessage) {
    this.broadcast(`${nanoid(4).length} ${message}`, [connection.id]);
  }
}

export class Listing extends Server<Env> {
  async visit(room: string) {
    const visits = ((await this.ctx.storage.get<number>(room)) ?? 0) + 1;
    await this.ctx.storage.put(room, visits);
    return visits;
  }

  async forget() {
    const rooms = await this.ctx.storage.list();
    await this.ctx.storage.delete([...rooms.keys()]);
  }

  async onRequest() {
    return Response.json(Object.fromEntries(await this.ctx.storage.list<number>()));
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/api/title") return new Response(`${env.TITLE}, ${env.TOKEN}`);
    const routed = await routePartykitRequest(request, env, {
      onBeforeConnect(request) {
        const user = new URL(request.url).searchParams.get("user");
        if (!user) return new Response("Who are you?", { status: 401 });
        const known = new Request(request);
        known.headers.set("x-user", user);
        return known;
      },
    });
    return routed ?? new Response("Not found", { status: 404 });
  },

  async scheduled(controller: ScheduledController, env: Env) {
    if (controller.cron !== "0 3 * * *") throw new Error(`nobody planned ${controller.cron}`);
    const list = await getServerByName(env.ROOM_LIST, "all");
    await list.forget();
  },
};
