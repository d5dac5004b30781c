// Which export is the room, and the names of parties.

import { equal, test, throws } from "room:test";
import { DurableObject, WorkerEntrypoint } from "room:server/cloudflare.js";
import { choose } from "room:server/load.js";
import { kebab } from "room:server/names.js";
import { Server } from "room:server/partyserver.js";

class Chat extends Server {}
class Game extends Server {}
class Kit {
  onMessage() {}
}
const worker = { fetch() {} };
const kind = (namespace, name) => {
  const { kind, it } = choose(namespace, name);
  return [kind, it];
};

test("the default export, of each kind", () => {
  equal(kind({ default: Chat }), ["server", Chat]);
  equal(kind({ default: Kit }), ["partykit", Kit]);
  class Plain extends DurableObject {}
  equal(kind({ default: Plain }), ["durable", Plain]);
  const legacy = { onConnect() {} };
  equal(kind({ default: legacy }), ["object", legacy]);
});

test("a named export, and the only room beside a worker", () => {
  equal(kind({ default: Kit, Chat, Game }, "Game"), ["server", Game]);
  equal(kind({ default: worker, Chat }), ["server", Chat]);
  equal(choose({ default: worker, Chat }).worker === worker, true);
  equal(choose({ default: Chat }).worker, null);
  equal(kind({ Chat }), ["server", Chat]);
});

test("what is no room is refused, and the text says what to write", () => {
  throws(() => choose({}), "the module exports no room: export the room's class");
  throws(() => choose({ default: worker }), "exports no room");
  throws(() => choose({ default: worker, Chat, Game }), "the rooms Chat, Game: name the one of this party");
  throws(() => choose({ Chat }, "Lobby"), 'does not export "Lobby": it exports Chat');
  throws(() => choose({}, "Lobby"), "it exports nothing");
  throws(() => choose({ default: () => {} }), "is a function, and not a class");
  throws(() => choose({ default: {} }), "an object without handlers");
  throws(() => choose({ default: 5 }), "the default export is number");
  throws(() => choose({ default: Server }), "the base class itself");
  throws(() => choose({ default: class extends WorkerEntrypoint {} }), "WorkerEntrypoint, which is not a room");
});

test("names of parties are in kebab-case", () => {
  const names = { MyServer: "my-server", HIB_THING: "hib-thing", YDoc: "y-doc", chatRoom: "chat-room", chat_room: "chat-room" };
  for (const [name, expected] of Object.entries({ ...names, chat: "chat", "chat-room": "chat-room", Chat: "chat" })) {
    equal(kebab(name), expected);
  }
});

test("an app of a web framework is a worker, whatever its methods are called", () => {
  const app = { fetch() {}, onError() {}, notFound() {}, request() {} };
  equal(kind({ default: app, Chat }), ["server", Chat]);
  equal(choose({ default: app, Chat }).worker === app, true);
});
