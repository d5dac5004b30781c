// The four kinds of rooms as one: which method of the author's an event calls, with which arguments.
//
// Owns the order of arguments. Invariant: a method is looked up at each event, so that a room may set it later. It does
// not know turns, and it does not await: what a method returns is its caller's.

import { dispatch, listening } from "./connection.js";
import { currentEnv, RoomState } from "./context.js";
import { RoomError } from "./errors.js";
import { Room } from "./room.js";

/** The names that a call of another room must not reach. */
const HANDLERS = /^(constructor|fetch|alarm|webSocket\w*|getConnectionTags|on[A-Z]\w*|__\w*)$/;

/** What the kinds have in common. `it` is the author's object. */
class Adapter {
  /** @type {any} */
  it = null;
  state = new RoomState();

  /** Whether the author's object has a method. @param {string} name */
  has(name) {
    return typeof this.it[name] === "function";
  }

  start() {
    return this.has("onStart") ? this.it.onStart(this.state.props) : undefined;
  }

  tags(connection, context) {
    return this.has("getConnectionTags") ? this.it.getConnectionTags(connection, context) : [];
  }

  connect(connection, context) {
    return this.has("onConnect") ? this.it.onConnect(connection, context) : undefined;
  }

  close(connection, code, reason, clean) {
    const result = this.has("onClose") ? this.it.onClose(connection, code, reason, clean) : undefined;
    if (listening) dispatch(connection, "close", { code, reason, wasClean: clean });
    return result;
  }

  error(connection, error) {
    const result = this.has("onError") ? this.it.onError(connection, error) : undefined;
    if (listening) dispatch(connection, "error", { error, message: error.message });
    return result;
  }

  alarm() {
    return this.has("onAlarm") ? this.it.onAlarm() : undefined;
  }

  expire() {
    return this.has("onExpire") ? this.it.onExpire() : undefined;
  }

  /** Whether `it.onMessage(connection, message)` is all that a message calls. */
  get isDirect() {
    return false;
  }

  /** The messages that `setWebSocketAutoResponse` answers do not come here. */
  message(connection, message) {
    return this.has("onMessage") ? this.it.onMessage(connection, message) : undefined;
  }

  /** Calls a method that only this server has. @param {string} name @param {string} event @param {any[]} args */
  own(name, event, ...args) {
    if (this.has(name)) return this.it[name](...args);
    throw new RoomError("no-handler", `${event}, and the room has no ${name}()`);
  }

  /** Calls a public method for another room. @param {string} name @param {any[]} args */
  method(name, args) {
    const method = this.it[name];
    const open = typeof method === "function" && !HANDLERS.test(name) && !Object.hasOwn(this.it, name);
    if (!open || method === /** @type {any} */ (Object.prototype)[name]) {
      throw new RoomError("no-method", `the room has no public method ${name}()`);
    }
    return method.apply(this.it, args);
  }
}

/** `class X extends Server`. */
class ServerAdapter extends Adapter {
  constructor(Class, env) {
    super();
    this.it = new Class(this.state, env);
  }

  get isDirect() {
    return true;
  }

  request(request) {
    return this.it.fetch(request);
  }

  alarm() {
    return this.it.alarm();
  }
}

/** `class X implements Party.Server`. */
class PartyKitAdapter extends Adapter {
  constructor(Class) {
    super();
    this.room = new Room(this.state);
    this.it = new Class(this.room);
  }

  message(connection, message) {
    const { it } = this;
    return typeof it.onMessage === "function" ? it.onMessage(message, connection) : undefined;
  }

  request(request) {
    return this.has("onRequest") ? this.it.onRequest(request) : new Response("No onRequest handler", { status: 500 });
  }
}

/** `export default { onConnect(connection, room) {} }`. */
class ObjectAdapter extends PartyKitAdapter {
  constructor(object) {
    super(
      // The object is the same for all rooms of a heap, of which there is one.
      class {
        constructor() {
          return object;
        }
      },
    );
  }

  start() {}

  connect(connection, context) {
    if (this.has("onConnect")) return this.it.onConnect(connection, this.room, context);
    if (!this.has("onMessage")) connection.close(1011, "No onConnect or onMessage handler");
    return undefined;
  }

  message(connection, message) {
    return this.has("onMessage") ? this.it.onMessage(message, connection, this.room) : undefined;
  }

  close(connection, code, reason, clean) {
    const result = this.has("onClose") ? this.it.onClose(connection, this.room) : undefined;
    if (listening) dispatch(connection, "close", { code, reason, wasClean: clean });
    return result;
  }

  error(connection, error) {
    const result = this.has("onError") ? this.it.onError(connection, error, this.room) : undefined;
    if (listening) dispatch(connection, "error", { error, message: error.message });
    return result;
  }

  request(request) {
    if (!this.has("onRequest")) return super.request(request);
    return this.it.onRequest(request, this.room);
  }

  alarm() {
    return this.has("onAlarm") ? this.it.onAlarm(this.room) : undefined;
  }
}

/** `class X extends DurableObject`. */
class DurableAdapter extends Adapter {
  constructor(Class, env) {
    super();
    this.it = new Class(this.state, env);
  }

  message(connection, message) {
    return this.has("webSocketMessage") ? this.it.webSocketMessage(connection, message) : super.message(connection, message);
  }

  close(connection, code, reason, clean) {
    if (!this.has("webSocketClose")) return super.close(connection, code, reason, clean);
    return this.it.webSocketClose(connection, code, reason, clean);
  }

  error(connection, error) {
    return this.has("webSocketError") ? this.it.webSocketError(connection, error) : super.error(connection, error);
  }

  request(request) {
    return this.has("fetch") ? this.it.fetch(request) : new Response("Not implemented", { status: 404 });
  }

  alarm() {
    return this.has("alarm") ? this.it.alarm({ retryCount: 0, isRetry: false }) : super.alarm();
  }
}

/** What rooms of all kinds consist of, without an author's object. @returns {unknown[]} */
export function samples() {
  const Nobody = class {};
  return [new ServerAdapter(Nobody, {}), new DurableAdapter(Nobody, {}), new PartyKitAdapter(Nobody)];
}

/** Makes a room. @param {import("./load.js").Target} target @returns {any} */
export function makeRoom(target) {
  switch (target.kind) {
    case "server":
      return new ServerAdapter(target.it, currentEnv());
    case "durable":
      return new DurableAdapter(target.it, currentEnv());
    case "object":
      return new ObjectAdapter(target.it);
    default:
      return new PartyKitAdapter(target.it);
  }
}
