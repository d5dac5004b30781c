// A room as it was written for the first PartyKit: an object, whose handlers get the room as an argument.

import type * as Party from "partykit/server";

const events: string[] = [];

export default {
  onConnect(ws: Party.Connection, room: Party.Room, { request }: Party.ConnectionContext) {
    events.push(`connect ${ws.id} ${room.id} ${new URL(request.url).search}`);
    if (!request.url.includes("listen")) return;
    ws.addEventListener("message", (event) => ws.send(`heard ${event.data}`));
    ws.addEventListener("close", (event) => events.push(`listener ${event.code} ${event.reason} ${event.wasClean}`));
    const once = { handleEvent: (event: MessageEvent) => ws.send(`once ${event.data}`) };
    ws.addEventListener("message", once, { once: true });
    const removed = () => ws.send("removed");
    ws.addEventListener("message", removed);
    ws.removeEventListener("message", removed);
  },

  onMessage(message: string, ws: Party.Connection, room: Party.Room) {
    if (message.startsWith("alarm ")) return room.storage.setAlarm(Number(message.slice(6)));
    ws.send(`${message} in ${room.id}, with ${room.connections.size}`);
  },

  onClose(ws: Party.Connection, room: Party.Room) {
    events.push(`close ${ws.id} ${room.id}`);
  },

  onError(ws: Party.Connection, error: Error, room: Party.Room) {
    events.push(`error ${ws.id} ${error.message} ${room.id}`);
  },

  onRequest(request: Party.Request, room: Party.Room) {
    return new Response([request.method, room.id, ...events].join("\n"));
  },

  onAlarm(room: Party.Room) {
    room.broadcast(`alarm of ${room.id}`);
  },

  onBeforeConnect(request: Party.Request, lobby: Party.Lobby) {
    if (request.url.includes("refuse")) throw new Error(`not into ${lobby.id}`);
    return request;
  },

  onBeforeRequest(request: Party.Request, lobby: Party.Lobby) {
    return request.url.includes("verdict") ? new Response(`before ${lobby.id}`, { status: 403 }) : request;
  },

  unstable_onFetch(request: Party.Request, lobby: Party.FetchLobby) {
    return new Response(`${new URL(request.url).pathname} ${Object.keys(lobby.env)}`);
  },

  onCron(cron: Party.Cron, lobby: Party.CronLobby) {
    events.push(`cron ${cron.name} ${typeof lobby.parties.main?.get}`);
  },
};
