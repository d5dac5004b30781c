// A chat room: names, who is here, and the last hundred messages.
import { Server, type Connection, type ConnectionContext, type WSMessage } from "roomkit/server";
import { parse, type Said, type ToClient } from "./messages";

/** What everyone reads on top of the room. Change it while `room dev` runs, save, and look. */
const GREETING = "Welcome! Everything here is live.";

const HISTORY_MAX = 100;
const NAME_LENGTH_MAX = 32;
const TEXT_LENGTH_MAX = 2_000;

/** What the room keeps with a connection. */
interface Person {
  name: string;
}

export default class Chat extends Server {
  onStart() {
    // After a reload people are still connected, and this code may greet them differently.
    this.tellAll({ type: "greeting", text: GREETING });
  }

  async onConnect(connection: Connection<Person>, { request }: ConnectionContext) {
    const name = tidy(new URL(request.url).searchParams.get("name") ?? "", NAME_LENGTH_MAX);
    if (name !== null) connection.setState({ name });
    const stored = await this.ctx.storage.list<Said>({ prefix: "said:" });
    tell(connection, { type: "welcome", greeting: GREETING, history: [...stored.values()] });
    this.tellPeople();
  }

  onMessage(connection: Connection<Person>, data: WSMessage) {
    const message = typeof data === "string" ? parse(data) : null;
    switch (message?.type) {
      case "name": {
        const name = tidy(message.name, NAME_LENGTH_MAX);
        if (name === null) return tell(connection, { type: "error", text: "a name is 1 to 32 characters" });
        connection.setState({ name });
        return this.tellPeople();
      }
      case "say": {
        const text = tidy(message.text, TEXT_LENGTH_MAX);
        if (text === null) return tell(connection, { type: "error", text: "a message is 1 to 2,000 characters" });
        return this.say(nameOf(connection), text);
      }
      default:
        return tell(connection, { type: "error", text: "this message is unknown here" });
    }
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
    this.tellAll({ type: "said", ...said });
  }

  private tellPeople() {
    const names = [...this.getConnections<Person>()].map(nameOf);
    this.tellAll({ type: "people", count: names.length, names });
  }

  private tellAll(message: ToClient) {
    this.broadcast(JSON.stringify(message));
  }
}

function tell(connection: Connection<Person>, message: ToClient) {
  connection.send(JSON.stringify(message));
}

function nameOf(connection: Connection<Person>): string {
  return connection.state?.name ?? "someone";
}

/** The key of a message. Digits are padded, so that the order of keys is the order of messages. */
function keyOf(id: number): string {
  return `said:${String(id).padStart(12, "0")}`;
}

/** Returns a text without surrounding space, or null if it is empty or too long. */
function tidy(text: string, lengthMax: number): string | null {
  const tidied = text.trim();
  return tidied !== "" && tidied.length <= lengthMax ? tidied : null;
}
