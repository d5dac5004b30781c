// Tests of the room, without a server: `room test` runs them.
import { assert, beforeEach, test, type TestClient, TestRoom } from "roomkit/test";
import type { Said, ToClient } from "./messages";

let room: TestRoom;

beforeEach(() => {
  room = new TestRoom("lobby");
});

/** The messages of one type that a client got since it was last asked. */
function got<T extends ToClient["type"]>(client: TestClient, type: T) {
  const isOfType = (message: ToClient): message is Extract<ToClient, { type: T }> => message.type === type;
  return client.receivedJson<ToClient>().filter(isOfType);
}

const texts = (messages: Said[] = []) => messages.map(({ text }) => text);

test("a message reaches everyone, with the name of its author", () => {
  const ada = room.connect("ada");
  const bob = room.connect("bob");
  ada.sendJson({ name: " Ada ", text: "hello" });
  for (const client of [ada, bob]) {
    const [message] = got(client, "said");
    assert.deepEqual([message?.said.name, message?.said.text], ["Ada", "hello"]);
  }
});

test("who comes later reads the history, also after a crash", () => {
  room.connect("ada").sendJson({ name: "Ada", text: "written before" });
  room.crash();
  const [welcome] = got(room.connect("bob"), "welcome");
  assert.deepEqual(texts(welcome?.history), ["written before"]);
});

test("what is not a message changes nothing", () => {
  const ada = room.connect("ada");
  const stored = room.storage.size;
  for (const odd of ["what is this?", "{}", '{"name":"Ada","text":"  "}']) ada.send(odd);
  assert.equal(room.storage.size, stored);
});
