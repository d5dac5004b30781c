// The static methods of a PartyKit class, which run outside of rooms.

import type * as Party from "partykit/server";

function thrown(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "nothing was thrown";
}

export default class Statics implements Party.Server {
  constructor(readonly room: Party.Room) {}

  static async onBeforeConnect(request: Party.Request, lobby: Party.Lobby, ctx: Party.ExecutionContext) {
    ctx.waitUntil(Promise.resolve());
    ctx.passThroughOnException();
    switch (new URL(request.url).searchParams.get("ask")) {
      case "user":
        request.headers.set("X-User-ID", `ada of ${lobby.id}`);
        return request;
      case "answer":
        return new Response("no entry", { status: 403 });
      case "error":
        throw new Error("no token");
      case "string":
        throw "no token at all";
      case "refuse":
        return { refuse: { code: 4403, reason: "not you" } };
      case "fetch": {
        const response = await fetch("https://auth.example.com/");
        request.headers.set("X-User-ID", await response.text());
        return request;
      }
      default:
        return undefined;
    }
  }

  static onBeforeRequest(request: Party.Request, lobby: Party.Lobby) {
    const ask = new URL(request.url).searchParams.get("ask");
    if (ask === "lobby") {
      lobby.analytics.writeDataPoint({});
      const all = lobby as any;
      const absent = ["ai", "assets", "vectorize", "bindings"].map((name) => thrown(() => all[name]));
      return Response.json([lobby.id, lobby.env.GREETING, typeof lobby.parties.main?.get, absent]);
    }
    if (ask === "room") {
      return lobby.parties.main!.get("x").fetch("/").then(() => new Response("went"), (error: Error) => new Response(error.message));
    }
    if (ask === "error") throw new Error("not for you");
    if (ask === "change") return new Request(request, { headers: { "X-User-ID": "eve" } });
    return undefined;
  }

  static onFetch(request: Party.Request, lobby: Party.FetchLobby) {
    const { pathname } = new URL(request.url);
    return pathname === "/nothing" ? null : new Response(`fetched ${pathname} ${"id" in lobby}`);
  }

  static onSocket(socket: Party.FetchSocket) {
    if (socket.request.url.endsWith("/closed")) return socket.close(4000, "closed by onSocket");
    return { party: "main", room: "entered" };
  }

  static onCron(cron: Party.Cron, lobby: Party.CronLobby, ctx: Party.ExecutionContext) {
    cron.noRetry();
    ctx.waitUntil(Promise.resolve());
    console.log(`cron ${cron.name} ${cron.scheduledTime} ${typeof lobby.parties.main?.get}`);
  }

  onConnect(connection: Party.Connection, { request }: Party.ConnectionContext) {
    connection.send(`user ${request.headers.get("x-user-id")}`);
  }

  onRequest(request: Party.Request) {
    return new Response(`user ${request.headers.get("x-user-id")}`);
  }
}

Statics satisfies Party.Worker;
