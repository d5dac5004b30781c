// A chat room: who is here, and the last hundred messages.
import { Server, type Connection, type WSMessage } from "roomkit/server";
import { parse, type Said, type ToClient } from "./messages";

/** What everyone reads on top of the room. Change it while `room dev` runs, save, and look. */
const GREETING = "Welcome! Everything here is live.";

const HISTORY_MAX = 100;
const NAME_LENGTH_MAX = 32;
const TEXT_LENGTH_MAX = 2_000;

export default class Chat extends Server {
  onStart() {
    // After a reload people are still connected, and this code may greet them differently.
    this.tellAll({ type: "greeting", greeting: GREETING });
  }

  onConnect(connection: Connection) {
    const history = [...this.ctx.storage.kv.list<Said>({ prefix: "said:" })].map(([, said]) => said);
    const welcome: ToClient = { type: "welcome", greeting: GREETING, history };
    connection.send(JSON.stringify(welcome));
    this.tellPeople();
  }

  onMessage(_: Connection, data: WSMessage) {
    const message = parse(data);
    const text = message?.text.trim().slice(0, TEXT_LENGTH_MAX);
    if (!message || !text) return;
    this.say(message.name.trim().slice(0, NAME_LENGTH_MAX) || "someone", text);
  }

  onClose() {
    this.tellPeople();
  }

  /** Stores a message, drops the oldest one beyond the limit, and sends the new one to everyone. */
  private say(name: string, text: string) {
    const { kv } = this.ctx.storage;
    const id = kv.get<number>("next") ?? 0;
    const said: Said = { id, name, text, at: Date.now() };
    kv.put(keyOf(id), said);
    kv.put("next", id + 1);
    if (id >= HISTORY_MAX) kv.delete(keyOf(id - HISTORY_MAX));
    this.tellAll({ type: "said", said });
  }

  private tellPeople() {
    this.tellAll({ type: "people", people: [...this.getConnections()].length });
  }

  private tellAll(message: ToClient) {
    this.broadcast(JSON.stringify(message));
  }
}

/** The key of a message. Digits are padded, so that the order of keys is the order of messages. */
function keyOf(id: number): string {
  return `said:${String(id).padStart(12, "0")}`;
}
