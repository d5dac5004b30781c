// Tests of both classes together, without a server: `room test` runs them.
import { assert, beforeEach, test, type TestClient, TestProject, type TestRoom } from "roomkit/test";
import type { Entry, ToClient } from "./messages";

let lobby: TestRoom;
let red: TestRoom;
let blue: TestRoom;

beforeEach(() => {
  const project = new TestProject();
  lobby = project.room("all", { party: "lobby" });
  red = project.room("red", { party: "meeting" });
  blue = project.room("blue", { party: "meeting" });
});

/** The messages of one type that a client got since it was last asked. */
function got<T extends ToClient["type"]>(client: TestClient, type: T) {
  const isOfType = (message: ToClient): message is Extract<ToClient, { type: T }> => message.type === type;
  return client.receivedJson<ToClient>().filter(isOfType);
}

/** The list that somebody in the lobby saw last. */
const seen = (client: TestClient): Entry[] | undefined => got(client, "rooms").at(-1)?.rooms;

test("the lobby counts people as they come and go", () => {
  const watcher = lobby.connect("watcher");
  const ada = red.connect("ada");
  red.connect("bob");
  blue.connect("cleo");
  assert.deepEqual(seen(watcher), [{ room: "blue", people: 1 }, { room: "red", people: 2 }]);
  ada.close();
  assert.deepEqual(seen(watcher), [{ room: "blue", people: 1 }, { room: "red", people: 1 }]);
});

test("an announcement reaches the lobby and every room with people in it", () => {
  const watcher = lobby.connect("watcher");
  const ada = red.connect("ada");
  const cleo = blue.connect("cleo");
  watcher.send("  tea is ready ");
  for (const client of [watcher, ada, cleo]) {
    assert.deepEqual(got(client, "notice"), [{ type: "notice", text: "tea is ready" }]);
  }
});

test("the list is there over HTTP, also after a crash", async () => {
  red.connect("ada");
  lobby.crash();
  const response = await lobby.request("/");
  assert.deepEqual(await response.json(), [{ room: "red", people: 1 }]);
});
