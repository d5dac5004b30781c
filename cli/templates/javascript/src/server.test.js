// Tests of the room, without a server: `room test` runs them.
import { assert, beforeEach, test, TestRoom } from "roomkit/test";

/** @type {TestRoom} */
let room;

beforeEach(() => {
  room = new TestRoom("lobby");
});

/**
 * The messages of one type that a client got since it was last asked.
 * @param {import("roomkit/test").TestClient} client @param {string} type
 */
function got(client, type) {
  return client.receivedJson().filter((message) => message.type === type);
}

test("a message reaches everyone, with the name of its author", () => {
  const ada = room.connect("ada", { query: { name: "Ada" } });
  const bob = room.connect("bob");
  ada.sendJson({ type: "say", text: "hello" });
  for (const client of [ada, bob]) {
    const [said] = got(client, "said");
    assert.deepEqual([said.name, said.text], ["Ada", "hello"]);
  }
});

test("who comes later reads the history, also after a crash", () => {
  room.connect("ada").sendJson({ type: "say", text: "written before" });
  room.crash();
  const [welcome] = got(room.connect("bob"), "welcome");
  assert.deepEqual(welcome.history.map(({ text }) => text), ["written before"]);
});

test("an unknown message is answered and changes nothing", () => {
  const ada = room.connect("ada");
  const stored = room.storage.size;
  ada.send("what is this?");
  assert.deepEqual(got(ada, "error"), [{ type: "error", text: "this message is unknown here" }]);
  assert.equal(room.storage.size, stored);
});
