// A chat room: names, who is here, and the last hundred messages.
import { Server } from "roomkit/server";

/** What everyone reads on top of the room. Change it while `room dev` runs, save, and look. */
const GREETING = "Welcome! Everything here is live.";

const HISTORY_MAX = 100;
const NAME_LENGTH_MAX = 32;
const TEXT_LENGTH_MAX = 2_000;

/** @typedef {import("roomkit/server").Connection<{name: string}>} Person */
/**
 * @typedef {object} Said
 * @property {number} id
 * @property {string} name
 * @property {string} text
 * @property {number} at
 */

export default class Chat extends Server {
  onStart() {
    // After a reload people are still connected, and this code may greet them differently.
    this.tellAll({ type: "greeting", text: GREETING });
  }

  /** @param {Person} connection @param {import("roomkit/server").ConnectionContext} context */
  async onConnect(connection, { request }) {
    const name = tidy(new URL(request.url).searchParams.get("name"), NAME_LENGTH_MAX);
    if (name !== null) connection.setState({ name });
    const stored = await this.ctx.storage.list({ prefix: "said:" });
    tell(connection, { type: "welcome", greeting: GREETING, history: [...stored.values()] });
    this.tellPeople();
  }

  /** @param {Person} connection @param {import("roomkit/server").WSMessage} data */
  onMessage(connection, data) {
    const message = parse(data);
    switch (message.type) {
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
  say(/** @type {string} */ name, /** @type {string} */ text) {
    const { kv } = this.ctx.storage;
    const id = /** @type {number} */ (kv.get("next") ?? 0);
    /** @type {Said} */
    const said = { id, name, text, at: Date.now() };
    kv.put(keyOf(id), said);
    kv.put("next", id + 1);
    if (id >= HISTORY_MAX) kv.delete(keyOf(id - HISTORY_MAX));
    this.tellAll({ type: "said", ...said });
  }

  tellPeople() {
    const names = [...this.getConnections()].map((connection) => nameOf(/** @type {Person} */ (connection)));
    this.tellAll({ type: "people", count: names.length, names });
  }

  tellAll(/** @type {object} */ message) {
    this.broadcast(JSON.stringify(message));
  }
}

/** @param {Person} connection @param {object} message */
function tell(connection, message) {
  connection.send(JSON.stringify(message));
}

/** @param {Person} connection */
function nameOf(connection) {
  return connection.state?.name ?? "someone";
}

/** The key of a message. Digits are padded, so that the order of keys is the order of messages. @param {number} id */
function keyOf(id) {
  return `said:${String(id).padStart(12, "0")}`;
}

/**
 * Returns the object in a message; an empty one if there is none.
 * @param {unknown} data @returns {Record<string, unknown>}
 */
function parse(data) {
  try {
    return Object(JSON.parse(String(data)));
  } catch {
    return {};
  }
}

/**
 * Returns a text without surrounding space, or null if it is empty or too long.
 * @param {unknown} text @param {number} lengthMax
 */
function tidy(text, lengthMax) {
  const tidied = typeof text === "string" ? text.trim() : "";
  return tidied !== "" && tidied.length <= lengthMax ? tidied : null;
}
