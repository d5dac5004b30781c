// Tests of the room, without a server and without a model: `room test` runs them.
import { assert, beforeEach, test, type TestClient, TestRoom } from "roomkit/test";
import type { ToClient } from "./messages";

let room: TestRoom;
let ada: TestClient;

beforeEach(() => {
  room = new TestRoom("lobby");
  ada = room.connect("ada");
});

/** The messages of one type that a client got since it was last asked. */
function got<T extends ToClient["type"]>(client: TestClient, type: T) {
  const isOfType = (message: ToClient): message is Extract<ToClient, { type: T }> => message.type === type;
  return client.receivedJson<ToClient>().filter(isOfType);
}

/** What a new client sees of the last answer. */
function last() {
  const [message] = got(room.connect(`late-${Math.random()}`), "talks");
  const talk = message?.talks.at(-1);
  return [talk?.answer, talk?.state];
}

/** The request to the model. */
function asked() {
  const [request] = room.fetches();
  assert(request, "the room asks nobody");
  return request;
}

test("each part of an answer is stored and sent as it comes", () => {
  ada.send("What is a room?");
  const model = asked();
  assert(model.inParts);
  model.respondPart("It is ");
  model.respondPart("small.");
  assert.deepEqual(got(ada, "piece").map(({ from, text }) => [from, text]), [[0, "It is "], [6, "small."]]);
  assert.deepEqual(last(), ["It is small.", "open"]);
  model.respond(new Response("", { status: 200 }));
  assert.deepEqual(last(), ["It is small.", "whole"]);
});

test("an answer goes on when new code takes over in its middle", () => {
  ada.send("And now?");
  const model = asked();
  model.respondPart("Before, ");
  room.reload();
  model.respondPart("and after");
  assert.deepEqual(last(), ["Before, and after", "open"]);
});

test("a model that is not there is a problem that everyone reads", () => {
  ada.send("Hello?");
  asked().fail("unreachable");
  const [ended] = got(ada, "ended");
  assert.equal(ended?.state, "failed");
  assert(ended?.problem);
});
