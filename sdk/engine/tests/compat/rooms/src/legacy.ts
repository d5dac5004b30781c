// A room as it was written for the first PartyKit: an object, whose handlers get the room as an argument.

import type { PartyKitServer } from "partykit/server";

const events: string[] = [];

export default {
  onConnect(ws, room, { request }) {
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

  onMessage(message: string, ws, room) {
    if (message.startsWith("alarm ")) return room.storage.setAlarm(Number(message.slice(6)));
    ws.send(`${message} in ${room.id}, with ${room.connections.size}`);
  },

  onClose(ws, room) {
    events.push(`close ${ws.id} ${room.id}`);
  },

  onError(ws, error, room) {
    events.push(`error ${ws.id} ${error.message} ${room.id}`);
  },

  onRequest(request, room) {
    return new Response([request.method, room.id, ...events].join("\n"));
  },

  onAlarm(room) {
    room.broadcast(`alarm of ${room.id}`);
  },

  onBeforeConnect(request, lobby) {
    if (request.url.includes("refuse")) throw new Error(`not into ${lobby.id}`);
    return request;
  },

  onBeforeRequest(request, lobby) {
    return request.url.includes("verdict") ? new Response(`before ${lobby.id}`, { status: 403 }) : request;
  },

  unstable_onFetch(request, lobby) {
    return new Response(`${new URL(request.url).pathname} ${Object.keys(lobby.env)}`);
  },

  onCron(cron, lobby) {
    events.push(`cron ${cron.name} ${typeof lobby.parties.main?.get}`);
  },
} satisfies PartyKitServer;
