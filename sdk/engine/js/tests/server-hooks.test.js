// What a project decides outside of its rooms.

import { equal, rejects, test } from "room:test";
import { before, fetched, socket } from "room:server/hooks.js";
import { choose } from "room:server/load.js";
import { routePartykitRequest, Server } from "room:server/partyserver.js";

const to = { party: "chat", room: "lobby" };
const record = (uri, method = "GET", body = "") => ({
  method,
  uri,
  headers: [["a", "b"]],
  body: new TextEncoder().encode(body),
});
const text = (response) => new TextDecoder().decode(response.body);
const kit = (statics) => choose({ default: Object.assign(class { onMessage() {} }, statics) });

test("without a hook everything goes on", () => {
  const request = record("http://h/parties/chat/lobby");
  equal(before(kit({}), "beforeConnect", request, to), { forward: request });
  equal(fetched(kit({}), request), null);
  equal(socket(kit({}), request), null);
});

test("a request, a response, a refusal or nothing", async () => {
  const request = record("http://h/parties/chat/lobby?x=1", "POST", "body");
  const decide = (onBeforeRequest) => before(kit({ onBeforeRequest }), "beforeRequest", request, to);
  equal(await decide(() => undefined), { forward: request });
  equal(
    await decide((incoming, lobby) => {
      incoming.headers.set("X-User", `${lobby.id} ${new URL(incoming.url).search}`);
      return incoming;
    }),
    { forward: { ...request, headers: [["a", "b"], ["x-user", "lobby ?x=1"]] } },
  );
  const { forward } = await decide(async (incoming) => new Request(incoming, { body: `${await incoming.text()}!` }));
  equal([forward.method, text(forward)], ["POST", "body!"]);
  const { respond } = await decide(() => new Response("no", { status: 403, headers: { z: "1" } }));
  equal([respond.status, text(respond), respond.headers[0]], [403, "no", ["z", "1"]]);
  equal(await decide(() => ({ refuse: { code: 4403, reason: "é".repeat(100) } })), {
    refuse: { code: 4403, reason: "é".repeat(61) },
  });
  await rejects(decide(() => 5), "must return a Request, a Response");
});

test("a hook that throws refuses", async () => {
  const request = record("http://h/parties/chat/lobby");
  const throwing = () => {
    throw "not you";
  };
  const { respond } = await before(kit({ onBeforeRequest: throwing }), "beforeRequest", request, to);
  equal([respond.status, text(respond)], [401, "not you"]);
  equal(await before(kit({ onBeforeConnect: throwing }), "beforeConnect", request, to), {
    refuse: { code: 4401, reason: "not you" },
  });
});

test("the worker of a PartyServer project decides as it routes", async () => {
  class Chat extends Server {}
  const onBeforeConnect = (request, lobby) =>
    lobby.name === "closed" ? new Response("closed", { status: 403 }) : void request.headers.set("seen", lobby.party);
  const worker = {
    fetch: async (request, env) =>
      (await routePartykitRequest(request, env, { onBeforeConnect })) ?? new Response("Not Found", { status: 404 }),
  };
  const target = choose({ Chat, default: worker });
  const request = record("http://h/parties/chat/lobby");
  equal((await before(target, "beforeConnect", request, to)).forward.headers, [["a", "b"], ["seen", "chat"]]);
  equal((await before(target, "beforeConnect", request, { ...to, room: "closed" })).respond.status, 403);
  equal(await before(target, "beforeRequest", request, to), { forward: request });
  equal((await fetched(target, record("http://h/other"))).status, 404);
  equal(await socket(target, record("http://h/other")), null);
  equal(await socket(target, record("http://h/parties/ChatRoom/a%20b")), { enter: { party: "chat-room", room: "a b" } });
});

test("other URLs", async () => {
  const target = kit({
    onFetch: (request) => (request.url.endsWith("/none") ? null : new Response(`got ${request.url}`)),
    onSocket: (pending) => (pending.url.endsWith("/no") ? pending.close(4000, "no") : { party: "Chat", room: "x" }),
  });
  equal(text(await fetched(target, record("http://h/a"))), "got http://h/a");
  equal(await fetched(target, record("http://h/none")), null);
  equal(await socket(target, record("http://h/a")), { enter: { party: "chat", room: "x" } });
  equal(await socket(target, record("http://h/no")), { refuse: { code: 4000, reason: "no" } });
});
